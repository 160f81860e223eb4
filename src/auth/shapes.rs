//! What the document says of the door beyond types.

use poem_openapi::types::Type;

use super::api::{Login, PasswordChange, Refresh, Registration, Token, VerificationSent};
use super::door::OtpRequired;
use super::oauth_api::{CodeTrade, LONGEST_HANDLE, LinkOptions, ProofOptions, UnlinkedAnswer};
use super::otp_api::UserWithCodes;
use super::recovery_api::{AcceptedBody, AddressToProve, Forgotten, NewPassword};
use super::session_api::Introspection;
use crate::otp::Method;
use crate::platform::shape::{Shape, Shaped};
use crate::profiles::{shape_of_password, shape_of_username, shapes_of_user};
use crate::users::{DisplayName, Email, PersonName};

/// What the document says of the door beyond types.
#[must_use]
pub fn shapes() -> Vec<Shaped> {
    let mut shapes = shapes_of_requests();
    shapes.extend(shapes_of_answers());
    shapes.extend(shapes_of_user::<UserWithCodes>());
    shapes.extend([
        Shaped::field(&OtpRequired::name(), "code", Shape::always("otp_required")),
        Shaped::parameter(&["oauth_login"], "code_challenge_method", Shape::always("S256")),
        Shaped::parameter(&["oauth_login"], "handle", Shape::text(LONGEST_HANDLE)),
        Shaped::parameter(&["end_session"], "id", Shape::uuid()),
        Shaped::parameter(&["change_otp_method"], "method", Shape::one_of(Method::words())),
    ]);
    shapes
}

fn shapes_of_requests() -> Vec<Shaped> {
    crate::shapes! {
        Registration {
            username: shape_of_username(),
            email: Shape::text(Email::LONGEST).like("ann@example.com"),
            password: shape_of_password(),
            confirm_password: shape_of_password(),
            display_name: Shape::text(DisplayName::LONGEST).like("Ann Lee"),
            first_name: Shape::text(PersonName::LONGEST),
            last_name: Shape::text(PersonName::LONGEST),
            middle_name: Shape::text(PersonName::LONGEST),
        }
        Login {
            username: Shape::default().like("ann_lee"),
            password: shape_of_password(),
            grant_type: Shape::always("password"),
        }
        PasswordChange {
            old_password: shape_of_password(),
            new_password: shape_of_password(),
            confirm_password: shape_of_password(),
        }
        NewPassword { new_password: shape_of_password(), confirm_password: shape_of_password() }
        Forgotten { email: Shape::default().like("ann@example.com") }
        AddressToProve { email: Shape::default().like("ann@example.com") }
        Refresh { grant_type: Shape::always("refresh_token") }
        CodeTrade { grant_type: Shape::always("authorization_code") }
        LinkOptions { handle: Shape::text(LONGEST_HANDLE) }
        ProofOptions { handle: Shape::text(LONGEST_HANDLE) }
    }
}

fn shapes_of_answers() -> Vec<Shaped> {
    crate::shapes! {
        Token { token_type: Shape::always("bearer") }
        OtpRequired { error: Shape::always("OTP-REQUIRED"), otp_method: Shape::one_of(Method::words()) }
        VerificationSent { status: Shape::always("verification_sent") }
        AcceptedBody { status: Shape::always("accepted") }
        UnlinkedAnswer { status: Shape::always("unlinked") }
        Introspection { token_type: Shape::always("Bearer") }
    }
}
