/** An image spec as its schema has it; one that came over the network was parsed before, one that did not is parsed here. */
import { fail } from "../../core/errors.ts";
import { type ImageSpec, imageSpecSchema } from "../../core/spec.ts";

export function checkedSpec(spec: ImageSpec): ImageSpec {
  const parsed = imageSpecSchema.safeParse(spec);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  return fail("image_spec_invalid", `The image spec does not fit at ${issue?.path.join(".")}: ${issue?.message}`);
}
