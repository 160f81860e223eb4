//! Which flag an operation has, and which ones can't keep everybody away.

use poem_openapi::OpenApi;

use super::flag::Shelter;
use super::name::Name;

/// Operations that are another spelling of one, and have its flag.
const SPELLINGS: [(&str, &str); 10] = [
    ("forgot_password", "FORGOT_PASSWORD_REQUEST"),
    ("verify_email_page", "VERIFY_EMAIL"),
    ("get_user", "READ_USER"),
    ("put_user", "PATCH_USER"),
    ("add_user_file", "NEW_USER_FILE"),
    ("oauth_link_page", "OAUTH_LINK"),
    ("oauth_unlink", "OAUTH_REVOKE"),
    ("read_feature_flags_again", "READ_FEATURE_FLAGS"),
    ("update_feature_flags_again", "UPDATE_FEATURE_FLAGS"),
    ("db_export_again", "DB_EXPORT"),
];

/// The flag of signing in with a password. Who it lets in is decided when the password is known to be right.
pub const LOGIN: &str = "LOGIN";
/// The flag of signing up. A first sign-in through a provider is one, too.
pub const REGISTER: &str = "REGISTER";

/// The name of an operation's flag: its id in capitals, unless it is another spelling of one.
#[must_use]
pub fn flag_of(operation_id: &str) -> Option<Name> {
    let spelling = SPELLINGS.iter().find(|(id, _)| *id == operation_id);
    spelling.map_or_else(|| operation_id.to_ascii_uppercase().parse(), |(_, flag)| flag.parse()).ok()
}

/// Whether a flag can refuse the operation at all, before its handler.
#[must_use]
pub fn is_gated(operation_id: &str) -> bool {
    flag_of(operation_id)
        .is_some_and(|flag| flag.as_str() != LOGIN && shelter_of(flag.as_str()) != Shelter::All)
}

/// Whom a flag can't keep away. Whatever ends access, or leads an admin to the flags, stays: else one could switch off
/// what switches it on again.
#[must_use]
pub fn shelter_of(flag: &str) -> Shelter {
    match flag {
        // signs of life, and the keys that others verify tokens with
        "_PING" | "HEALTHCHECK" | "HEALTH_LIVE" | "HEALTH_READY" | "JWKS"
        // what ends access
        | "LOGOUT" | "REVOKE_TOKEN" | "READ_SESSIONS" | "END_SESSION" | "END_OTHER_SESSIONS"
        // the rest of an admin's way in: half a sign-in is not judged again
        | "LOGIN_OTP" | "SEND_OTP" | "CSRF_TOKEN" | "REAUTHENTICATE"
        // the flags
        | "READ_FLAGS" | "READ_FEATURE_FLAGS" | "READ_FEATURE_FLAGS_HISTORY" | "UPDATE_FEATURE_FLAGS" => Shelter::All,
        // an admin's sign-in, and the second factor without which it may lead nowhere
        LOGIN | "GET_OTP_QR" | "CHANGE_OTP_METHOD" => Shelter::Admins,
        _ => Shelter::None,
    }
}

/// The flags of every operation of an API.
#[must_use]
pub fn flags_of<T: OpenApi>() -> Vec<Name> {
    let paths = T::meta().into_iter().flat_map(|api| api.paths);
    let ids = paths.flat_map(|path| path.operations).filter_map(|operation| operation.operation_id);
    ids.filter_map(flag_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_has_the_flag_of_its_id_in_capitals() {
        assert_eq!(flag_of("read_users_me").unwrap().as_str(), "READ_USERS_ME");
        assert_eq!(flag_of("_ping").unwrap().as_str(), "_PING");
        assert_eq!(flag_of("put_user").unwrap().as_str(), "PATCH_USER");
    }

    #[test]
    fn what_leads_to_the_flags_can_not_be_gated() {
        for id in [
            "logout",
            "revoke_token",
            "_ping",
            "update_feature_flags",
            "login",
            "login_otp",
            "reauthenticate",
        ] {
            assert!(!is_gated(id), "{id}");
        }
        for id in ["read_users_me", "register", "get_otp_qr", "refresh_token"] {
            assert!(is_gated(id), "{id}");
        }
    }
}
