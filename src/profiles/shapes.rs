//! What the document says of people beyond types.

use poem_openapi::types::Type;

use super::api::{LONGEST_SEARCH, MOST_IDS};
use super::fields::{FullName, NewUserBody, NewUsername, UserPatch};
use super::shown::{PublicUser, User};
use crate::otp::Method;
use crate::pictures::Side;
use crate::platform::shape::{Shape, Shaped};
use crate::sessions::Role;
use crate::users::{Description, DisplayName, Email, Locale, Password, PersonName, Username};

/// What the document says of people beyond types.
#[must_use]
pub fn shapes() -> Vec<Shaped> {
    let mut shapes = shapes_of_user::<User>();
    shapes.extend(shapes_of_requests());
    shapes.extend([
        Shaped::parameter(&["read_users", "read_users_number"], "q", Shape::text(LONGEST_SEARCH)),
        Shaped::parameter(&["read_users_list"], "users_ids", Shape::list(MOST_IDS)),
        Shaped::parameter(&["read_users", "read_users_number"], "role", Shape::one_of(Role::words())),
        Shaped::parameter(&["read_user_image"], "size", Shape::whole(Side::LEAST.into(), Side::MOST.into())),
        Shaped::parameter(
            &["new_user_image", "new_user_file", "add_user_file"],
            "description",
            Shape::text(Description::LONGEST),
        ),
    ]);
    shapes
}

/// The same of an object in which the fields of a person are shown.
#[must_use]
pub fn shapes_of_user<Shown: Type>() -> Vec<Shaped> {
    crate::shapes! {
        User as Shown {
            username: Shape::default().like("ann_lee"),
            display_name: Shape::default().like("Ann Lee"),
            email: Shape::default().like("ann@example.com"),
            otp_method: Shape::one_of(Method::words()),
            roles: roles(),
        }
    }
}

fn shapes_of_requests() -> Vec<Shaped> {
    crate::shapes! {
        PublicUser {
            username: Shape::default().like("ann_lee"),
            display_name: Shape::default().like("Ann Lee"),
            roles: roles(),
        }
        NewUserBody {
            username: username(),
            display_name: Shape::text(DisplayName::LONGEST).like("Ann Lee"),
            email: Shape::text(Email::LONGEST).like("ann@example.com"),
            password: password(),
            first_name: Shape::text(PersonName::LONGEST),
            last_name: Shape::text(PersonName::LONGEST),
            middle_name: Shape::text(PersonName::LONGEST),
            description: Shape::text(Description::LONGEST),
            locale: Shape::text(Locale::LONGEST).like("pt-BR"),
            roles: roles(),
        }
        UserPatch {
            username: username(),
            display_name: Shape::text(DisplayName::LONGEST).like("Ann Lee"),
            email: Shape::text(Email::LONGEST).like("ann@example.com"),
            first_name: Shape::text(PersonName::LONGEST),
            last_name: Shape::text(PersonName::LONGEST),
            middle_name: Shape::text(PersonName::LONGEST),
            description: Shape::text(Description::LONGEST),
            locale: Shape::text(Locale::LONGEST).like("pt-BR"),
            roles: roles(),
        }
        NewUsername { username: username() }
        FullName {
            first_name: Shape::text(PersonName::LONGEST),
            last_name: Shape::text(PersonName::LONGEST),
            middle_name: Shape::text(PersonName::LONGEST),
        }
    }
}

/// A user name that is chosen. How short it may be is a setting.
pub(crate) fn username() -> Shape {
    Shape::text_of(1, Username::LONGEST).like("ann_lee")
}

/// A password that is chosen. How short it may be is a setting.
pub(crate) fn password() -> Shape {
    Shape::text_of(1, Password::LONGEST).like("four quiet harbours")
}

fn roles() -> Shape {
    Shape::one_of(Role::words())
}
