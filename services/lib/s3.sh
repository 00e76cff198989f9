# versitygw: an S3 server over a folder.

s3_home=$SVC_HOME/versitygw-$VERSITYGW_VERSION
s3_needs=go
s3_takes='built with Go, about 2 minutes'
s3_ports=S3_PORT

s3_install() { go_build "github.com/versity/versitygw/cmd/versitygw@$VERSITYGW_VERSION" versitygw; }

s3_spawn() {
  mkdir -p "$SVC_DATA/s3" "$SVC_DATA/s3-versions" "$SVC_DATA/s3-iam"
  # without --keep-alive every request costs a connection
  ROOT_ACCESS_KEY=$S3_ACCESS_KEY ROOT_SECRET_KEY=$S3_SECRET_KEY spawn s3 "$s3_home/versitygw" \
    --port "127.0.0.1:$S3_PORT" --region "$S3_REGION" --keep-alive --quiet --health /health \
    --iam-dir "$SVC_DATA/s3-iam" posix --versioning-dir "$SVC_DATA/s3-versions" "$SVC_DATA/s3"
}

s3_ready() {
  local status
  wait_until s3 20 answers "http://127.0.0.1:$S3_PORT/health"
  status=$(curl -s --noproxy '*' -o /dev/null -w '%{http_code}' -X PUT --aws-sigv4 "aws:amz:$S3_REGION:s3" \
    --user "$S3_ACCESS_KEY:$S3_SECRET_KEY" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "http://127.0.0.1:$S3_PORT/$S3_BUCKET")
  [[ $status =~ ^(200|409)$ ]] || fail "s3: bucket $S3_BUCKET cannot be made (HTTP $status)" # 409: it is there
}
