//! Files: how much people may keep, and where it is kept.

use secrecy::SecretString;
use url::Url;

use super::catalogue::section;
use super::kinds::{Optional, SECRET_TEXT, TEXT, Whole, Word};
use super::server::WEB_ADDRESS;

section! {
    /// Files: how much people may keep, and where it is kept.
    pub struct Files {
        /// Largest file that can be uploaded, in bytes.
        max_upload_bytes: u64 = "MAX_UPLOAD_BYTES", Whole(1024_u64, 1 << 40), "10485760";
        /// Largest database file that is imported over HTTP, in bytes; from the command line there is no limit.
        max_import_bytes: u64 = "MAX_IMPORT_BYTES", Whole(1024_u64, 1 << 40), "268435456";
        /// How much each user may keep, in bytes.
        max_user_bytes: u64 = "MAX_USER_STORAGE_BYTES", Whole(0_u64, 1 << 50), "104857600";
        /// How many files each user may keep; pictures are no part of it.
        max_user_files: u64 = "MAX_USER_FILES", Whole(0_u64, 1_000_000), "100";
        /// Where files are kept: unset for `DATA_DIR/files`, or `s3://bucket/prefix` for a store that speaks S3, with
        /// `?region=` and `?endpoint=` where the `AWS_` variables don't say it. Several instances need one or the other
        /// to be shared.
        storage: Option<BucketAddress> = "STORAGE_URL", Optional(BUCKET), "";
        /// Name of the key for the store; unset: as the AWS tools find it (web identity, container, instance).
        access_key_id: Option<String> = "AWS_ACCESS_KEY_ID", Optional(TEXT), "";
        /// The key for the store.
        secret_access_key: Option<SecretString> = "AWS_SECRET_ACCESS_KEY", Optional(SECRET_TEXT), "";
        /// What goes with a key for a while.
        session_token: Option<SecretString> = "AWS_SESSION_TOKEN", Optional(SECRET_TEXT), "";
        /// Region of the store.
        region: Option<String> = "AWS_REGION", Optional(TEXT), "";
        /// Address of a store that is not Amazon's.
        endpoint: Option<Url> = "AWS_ENDPOINT_URL", Optional(WEB_ADDRESS), "";
    }
}

/// A bucket of a store that speaks S3, and what the keys in it begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketAddress {
    /// The bucket.
    pub bucket: String,
    /// What keys begin with; without slashes at its ends, may be empty.
    pub prefix: String,
    /// Its region.
    pub region: Option<String>,
    /// Its address, if it is not Amazon's.
    pub endpoint: Option<Url>,
}

const BUCKET: Word<BucketAddress> = Word {
    accepts: "s3://bucket or s3://bucket/prefix, with ?region= and ?endpoint= where needed",
    parse: bucket,
};

fn bucket(text: &str) -> Option<BucketAddress> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "s3" && url.fragment().is_none())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.port().is_none();
    let bucket = url.host_str().filter(|name| plain && (3..=63).contains(&name.len()))?.to_owned();
    let prefix = url.path().trim_matches('/').to_owned();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !prefix.is_empty() && !prefix.split('/').all(|part| !part.is_empty() && part.chars().all(fits)) {
        return None;
    }
    let mut address = BucketAddress { bucket, prefix, region: None, endpoint: None };
    for (name, value) in url.query_pairs() {
        match &*name {
            "region" if !value.is_empty() => address.region = Some(value.into_owned()),
            "endpoint" => address.endpoint = Some((WEB_ADDRESS.parse)(&value)?),
            _ => return None,
        }
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_with_what_is_needed_to_reach_it() {
        let plain = bucket("s3://files-of-ours").unwrap();
        assert_eq!((plain.bucket.as_str(), plain.prefix.as_str()), ("files-of-ours", ""));
        let full = bucket("s3://files/a/b/?region=eu-central-1&endpoint=http://127.0.0.1:9000").unwrap();
        assert_eq!((full.bucket.as_str(), full.prefix.as_str()), ("files", "a/b"));
        assert_eq!(full.region.as_deref(), Some("eu-central-1"));
        assert_eq!(full.endpoint.unwrap().as_str(), "http://127.0.0.1:9000/");
    }

    #[test]
    fn what_is_no_bucket_is_refused() {
        for bad in [
            "files",
            "https://files",
            "s3://",
            "s3://ab",
            "s3://key:secret@files",
            "s3://files/a//b",
            "s3://files/a?secret=x",
            "s3://files?endpoint=x",
            "s3://files#x",
        ] {
            assert_eq!(bucket(bad), None, "{bad}");
        }
    }
}
