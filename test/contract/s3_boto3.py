"""What boto3 does with the embedded endpoint; prints `ok` at the end. Arguments: endpoint, bucket."""

import io
import os
import sys
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, bucket = sys.argv[1:]
s3 = boto3.client(
    "s3",
    endpoint_url=endpoint,
    region_name="us-east-1",
    config=Config(signature_version="s3v4", retries={"max_attempts": 1}),
)


def code(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "ok"


def expect(actual, wanted):
    if actual != wanted:
        raise SystemExit(f"expected {wanted!r}, got {actual!r}")


expect(code(s3.create_bucket, Bucket=bucket), "ok")
expect(bucket in [one["Name"] for one in s3.list_buckets()["Buckets"]], True)
expect(s3.get_bucket_location(Bucket=bucket)["LocationConstraint"], None)

names = ["./x", "a b+c&d=e?f#g", "a%2Fb", "a//b", "d/x", "d/x/y", "n" * 1024, "x/./y", "ünï/çödé"]
for name in names:
    s3.put_object(Bucket=bucket, Key=name, Body=name.encode(), Metadata={"who": "me"}, ContentType="text/x-a")
    got = s3.get_object(Bucket=bucket, Key=name)
    expect((got["Body"].read(), got["Metadata"], got["ContentType"]), (name.encode(), {"who": "me"}, "text/x-a"))
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
expect([one["Key"] for page in pages for one in page["Contents"]], names)
pages = s3.get_paginator("list_objects").paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2})
found = [(page.get("Contents", []), page.get("CommonPrefixes", [])) for page in pages]
expect([one["Prefix"] for _, prefixes in found for one in prefixes], ["./", "a/", "d/", "x/", "ünï/"])
expect([one["Key"] for contents, _ in found for one in contents], ["a b+c&d=e?f#g", "a%2Fb", "n" * 1024])

expect(code(s3.put_object, Bucket=bucket, Key="n" * 1025), "KeyTooLongError")
expect(code(s3.put_object, Bucket=bucket, Key="../x"), "InvalidURI")
expect(code(s3.get_object, Bucket=bucket, Key="nothing"), "NoSuchKey")
expect(code(s3.get_object, Bucket="no-such-bucket", Key="x"), "NoSuchBucket")
expect(code(s3.put_object, Bucket=bucket, Key="c", ContentMD5="A" * 22 + "=="), "BadDigest")
expect(code(s3.put_object, Bucket=bucket, Key="c", ContentMD5="AAAA"), "InvalidDigest")
expect(code(s3.put_object, Bucket=bucket, Key="c", Body=b"x", ChecksumCRC32="AAAAAA=="), "BadDigest")
expect(code(s3.get_object_acl, Bucket=bucket, Key="d/x"), "NotImplemented")
expect(code(s3.put_object, Bucket=bucket, Key="c", Tagging="a=b"), "NotImplemented")

for algorithm, value in [
    ("CRC32", "DUoRhQ=="),
    ("CRC32C", "yZRlqg=="),
    ("CRC64NVME", "jSnVw/bqjr4="),
    ("SHA1", "Kq5sNclPz7QV2+lfQIuc6R7oRu0="),
    ("SHA256", "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek="),
]:
    s3.put_object(Bucket=bucket, Key="sum", Body=b"hello world", **{f"Checksum{algorithm}": value})
    head = s3.head_object(Bucket=bucket, Key="sum", ChecksumMode="ENABLED")
    expect((head[f"Checksum{algorithm}"], head["ChecksumType"]), (value, "FULL_OBJECT"))

big = os.urandom(30 * 1024 * 1024)
s3.upload_fileobj(io.BytesIO(big), bucket, "big")
back = io.BytesIO()
s3.download_fileobj(bucket, "big", back)
expect(back.getvalue() == big, True)
expect(s3.get_object(Bucket=bucket, Key="big", PartNumber=2)["Body"].read() == big[8388608:16777216], True)
s3.copy({"Bucket": bucket, "Key": "big"}, bucket, "copied", Config=boto3.s3.transfer.TransferConfig(multipart_threshold=1))
expect(s3.get_object(Bucket=bucket, Key="copied")["Body"].read() == big, True)

for kind in ["FULL_OBJECT", "COMPOSITE"]:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="mp", ChecksumAlgorithm="CRC32", ChecksumType=kind)["UploadId"]
    ask = {"Bucket": bucket, "Key": "mp", "UploadId": upload}
    parts = []
    for number in (1, 2):
        data = big[(number - 1) * 6000000 : number * 6000000]
        part = s3.upload_part(**ask, PartNumber=number, Body=data, ChecksumAlgorithm="CRC32")
        parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
    expect([one["Size"] for one in s3.list_parts(**ask)["Parts"]], [6000000, 6000000])
    expect([one["UploadId"] for one in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]], [upload])
    expect(code(s3.complete_multipart_upload, **ask, MultipartUpload={"Parts": parts[::-1]}), "InvalidPartOrder")
    done = s3.complete_multipart_upload(**ask, MultipartUpload={"Parts": parts})
    again = s3.complete_multipart_upload(**ask, MultipartUpload={"Parts": parts})
    expect((done["ChecksumType"], done["ETag"]), (kind, again["ETag"]))
    if kind == "FULL_OBJECT":
        s3.put_object(Bucket=bucket, Key="mp1", Body=big[:12000000], ChecksumAlgorithm="CRC32")
        whole = s3.head_object(Bucket=bucket, Key="mp1", ChecksumMode="ENABLED")["ChecksumCRC32"]
        expect(done["ChecksumCRC32"], whole)
    # A completion that is asked for again is the same one, also when it was conditional.
    expect(code(s3.complete_multipart_upload, **ask, MultipartUpload={"Parts": parts}, IfNoneMatch="*"), "ok")
    left = s3.create_multipart_upload(Bucket=bucket, Key="mp")["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key="mp", UploadId=left)
    expect(code(s3.list_parts, Bucket=bucket, Key="mp", UploadId=left), "NoSuchUpload")

etag = s3.head_object(Bucket=bucket, Key="sum")["ETag"]
expect(code(s3.put_object, Bucket=bucket, Key="sum", IfNoneMatch="*"), "PreconditionFailed")
expect(code(s3.put_object, Bucket=bucket, Key="sum", IfMatch='"other"'), "PreconditionFailed")
expect(code(s3.get_object, Bucket=bucket, Key="sum", IfNoneMatch=etag), "304")
expect(code(s3.get_object, Bucket=bucket, Key="sum", Range="bytes=100-"), "InvalidRange")

url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "pre"}, ExpiresIn=60)
urllib.request.urlopen(urllib.request.Request(url, data=b"presigned", method="PUT"))
expect(s3.get_object(Bucket=bucket, Key="pre")["Body"].read(), b"presigned")

wrong = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_secret_access_key="no", aws_access_key_id="zz")
expect(code(wrong.list_buckets), "InvalidAccessKeyId")
expect(code(wrong.put_object, Bucket=bucket, Key="big", Body=big), "InvalidAccessKeyId")

expect(code(s3.delete_bucket, Bucket=bucket), "BucketNotEmpty")
keys = [{"Key": one["Key"]} for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
expect(len(s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})["Deleted"]), len(keys))
expect(code(s3.delete_bucket, Bucket=bucket), "ok")
print("ok")
