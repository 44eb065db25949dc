/** How values travel: as JSON, or as pickles, which only containers and callers open. */
import { z } from "zod";

export const encodingSchema = z.enum(["json", "pickle"]);
export type Encoding = z.infer<typeof encodingSchema>;
