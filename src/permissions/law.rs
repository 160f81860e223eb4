//! The product's law, written out: who may do what to whom. The policies are held to it here.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Account, Action, Context, Decision, Field, File, Permissions, Resource, Subject};
use crate::sessions::{Role, Roles};

/// Actions on accounts. A column is the role of the one who asks (`none`: an account without any role), a letter in
/// it a target that it may be done to: **s**elf, **u**ser, **t**ester, **m**oderator, **a**dmin, **b**anned user,
/// **d**eleted user, a user who blocks the subject (**<**), a user whom the subject blocks (**>**).
const ON_ACCOUNTS: &str = "
                               anonymous  none       user       tester     moderator  admin
    user:read                  ---------  s--------  sutma----  sutma----  sutmab-<>  sutmabd<>
    user:read-image            -utma----  sutma----  sutma----  sutma----  sutma----  sutmabd<>
    user:read-private          ---------  s--------  s--------  s--------  s--------  sutmabd<>
    user:history               ---------  s--------  s--------  s--------  sut--b-<>  sutmabd<>
    user:sessions              ---------  s--------  s--------  s--------  sut--b-<>  sutmabd<>
    user:end-sessions          ---------  s--------  s--------  s--------  s--------  sutmabd<>
    user:reset-mail            ---------  s--------  s--------  s--------  sut--b-<>  sutmabd<>
    user:set-active            ---------  ---------  ---------  ---------  ---------  -utmabd<>
    user:ban                   ---------  ---------  ---------  ---------  -ut--b-<>  -utmabd<>
    user:unban                 ---------  ---------  ---------  ---------  ---------  -utmabd<>
    user:delete                ---------  ---------  s--------  s--------  ---------  sutmabd<>
    user:restore               ---------  ---------  ---------  ---------  ---------  sutmabd<>
    user:purge                 ---------  ---------  ---------  ---------  ---------  sutmabd<>
    user:blocks                ---------  ---------  s--------  s--------  ---------  sutmabd<>
    user:image                 ---------  ---------  s--------  s--------  ---------  sutmabd<>
    user:file                  ---------  ---------  s--------  s--------  ---------  sutmabd<>
    user:set-roles user        ---------  ---------  ---------  ---------  ---------  sutmabd<>
    user:set-roles tester      ---------  ---------  ---------  ---------  ---------  sutmabd<>
    user:set-roles moderator   ---------  ---------  ---------  ---------  ---------  sutmabd<>
    user:set-roles admin       ---------  ---------  ---------  ---------  ---------  sutmabd<>
    user:update username       ---------  ---------  s--------  s--------  ---------  sutmabd<>
    user:update display_name   ---------  ---------  s--------  s--------  -ut--b-<>  sutmabd<>
    user:update email          ---------  ---------  s--------  s--------  ---------  sutmabd<>
    user:update email_verified ---------  ---------  ---------  ---------  ---------  sutmabd<>
    user:update first_name     ---------  ---------  s--------  s--------  ---------  sutmabd<>
    user:update middle_name    ---------  ---------  s--------  s--------  ---------  sutmabd<>
    user:update last_name      ---------  ---------  s--------  s--------  ---------  sutmabd<>
    user:update description    ---------  ---------  s--------  s--------  -ut--b-<>  sutmabd<>
    user:update locale         ---------  ---------  s--------  s--------  ---------  sutmabd<>
    user:update metadata       ---------  ---------  ---------  ---------  ---------  sutmabd<>
    user:update password       ---------  ---------  ---------  ---------  ---------  sutmabd<>
    user:update uuid           ---------  ---------  ---------  ---------  ---------  sutmabd<>
";

/// Actions on files. A letter is the owner: **s**elf, **u**ser, **t**ester, **m**oderator, **a**dmin, **d**eleted user; or
/// a user (**l**) or an admin (**L**) who linked the file to the subject.
const ON_FILES: &str = "
                               anonymous  none       user       tester     moderator  admin
    file:read                  --------   --------   s-----lL   s-----lL   -ut---l-   sutmadlL
    file:update                --------   --------   s-------   s-------   --------   sutmadlL
    file:delete                --------   --------   s-------   s-------   --------   sutmadlL
";

/// Actions without an object.
const ON_THE_SYSTEM: &str = "
                               anonymous  none       user       tester     moderator  admin
    user:list                  -          -          -          -          y          y
    user:list directory_open   -          -          y          y          y          y
    user:create                -          -          -          -          y          y
    user:create user           -          -          -          -          y          y
    user:create tester         -          -          -          -          y          y
    user:create moderator      -          -          -          -          -          y
    user:create admin          -          -          -          -          -          y
    user:create username       -          -          -          -          y          y
    user:create display_name   -          -          -          -          y          y
    user:create email          -          -          -          -          y          y
    user:create email_verified -          -          -          -          -          y
    user:create first_name     -          -          -          -          y          y
    user:create middle_name    -          -          -          -          y          y
    user:create last_name      -          -          -          -          y          y
    user:create description    -          -          -          -          y          y
    user:create locale         -          -          -          -          y          y
    user:create metadata       -          -          -          -          -          y
    user:create password       -          -          -          -          y          y
    user:create uuid           -          -          -          -          y          y
    file:create                -          -          y          y          -          y
    docs:swagger               -          -          -          -          -          y
    docs:redoc                 -          -          y          y          y          y
    email:single               -          -          -          -          y          y
    email:multiple             -          -          -          -          y          y
    email:auth                 -          -          -          -          y          y
    email:all                  -          -          -          -          -          y
    email:test                 -          -          -          -          -          y
    flags:read                 -          -          -          -          -          y
    flags:update               -          -          -          -          -          y
    flags:evaluate             -          -          -          -          -          y
    database:export            -          -          -          -          -          y
    database:import            -          -          -          -          -          y
    database:recover           -          -          -          -          -          y
    permissions:check          -          -          -          -          -          y
    tokens:introspect          -          -          -          -          -          y
    audit:read                 -          -          -          -          -          y
    stats:read                 -          -          -          -          -          y
    webhooks:read              -          -          -          -          -          y
    webhooks:manage            -          -          -          -          -          y
    events:read                -          -          -          -          -          y
    events:replay              -          -          -          -          -          y
    metrics:read               -          -          -          -          -          y
    system:read                -          -          -          -          -          y
    keys:rotate                -          -          -          -          -          y
";

const ME: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

/// A line of the law: an action, what is told besides, and a cell for each column.
struct Line {
    action: Action,
    context: Context,
    words: &'static str,
    cells: [&'static str; 6],
}

fn lines(table: &'static str) -> Vec<Line> {
    let (_heading, rows) = table.trim_start().split_once('\n').unwrap();
    rows.lines().filter(|row| !row.trim().is_empty()).map(line).collect()
}

fn line(row: &'static str) -> Line {
    let words = row.split_whitespace().collect::<Vec<_>>();
    let (said, cells) = words.split_at(words.len() - 6);
    let told = said.get(1).copied().unwrap_or_default();
    let context = Context {
        fields: told.parse::<Field>().into_iter().collect(),
        roles: told.parse::<Role>().into_iter().collect(),
        directory_open: told == "directory_open",
    };
    assert!(told.is_empty() || context != Context::default(), "{row}");
    Line { action: said[0].parse().unwrap(), context, words: row, cells: cells.try_into().unwrap() }
}

/// The subjects of the columns.
fn subjects() -> [Subject; 6] {
    let account = |roles: &[Role]| Subject::account(ME, roles.iter().copied().collect());
    [
        Subject::Anonymous,
        account(&[]),
        account(&[Role::User]),
        account(&[Role::Tester]),
        account(&[Role::Moderator]),
        account(&[Role::Admin]),
    ]
}

fn are_within(roles: Roles, others: Roles) -> bool {
    roles.iter().all(|role| others.has(role))
}

fn roles_of(subject: &Subject) -> Roles {
    match subject {
        Subject::Anonymous => Roles::default(),
        Subject::Account { roles, .. } => *roles,
    }
}

fn target(letter: char, subject: &Subject) -> Account {
    let user = Account::active(OTHER, Role::User.into());
    match letter {
        's' => Account::active(ME, roles_of(subject)),
        'u' => user,
        't' => Account { roles: Role::Tester.into(), ..user },
        'm' => Account { roles: [Role::Moderator, Role::User].into_iter().collect(), ..user },
        'a' => Account { roles: [Role::Admin, Role::User].into_iter().collect(), ..user },
        'b' => Account { active: false, ..user },
        'd' => Account { deleted: true, ..user },
        '<' => Account { blocks_subject: true, ..user },
        '>' => Account { blocked_by_subject: true, ..user },
        other => panic!("`{other}` is no target"),
    }
}

fn file(letter: char, subject: &Subject) -> File<'static> {
    let (owner, linked): (_, &[Uuid]) = match letter {
        'l' => ('u', &[OTHER, ME]),
        'L' => ('a', &[OTHER, ME]),
        owner => (owner, &[OTHER]),
    };
    File { id: 7, owner: target(owner, subject), linked }
}

/// The letters of the targets that this subject may do the line's action to, as the policies have it.
fn cell(
    permissions: &Permissions,
    line: &Line,
    subject: &Subject,
    letters: &str,
    resource: impl Fn(char, &Subject) -> Resource<'static>,
) -> String {
    let letter = |letter| {
        if letter == 's' && subject.id().is_none() {
            return '-'; // nobody in particular has no self
        }
        let decision = permissions.decide(subject, line.action, &resource(letter, subject), &line.context);
        if decision == Decision::Allow { letter } else { '-' }
    };
    letters.chars().map(letter).collect()
}

fn hold(table: &'static str, letters: &str, resource: impl Fn(char, &Subject) -> Resource<'static>) {
    let permissions = Permissions::open(None).unwrap();
    for line in lines(table) {
        let found = subjects().map(|subject| cell(&permissions, &line, &subject, letters, &resource));
        assert_eq!(found, line.cells, "{}", line.words);
    }
}

fn on_account(letter: char, subject: &Subject) -> Resource<'static> {
    Resource::Account(target(letter, subject))
}

fn on_file(letter: char, subject: &Subject) -> Resource<'static> {
    Resource::File(file(letter, subject))
}

#[test]
fn the_law_of_accounts_holds() {
    hold(ON_ACCOUNTS, "sutmabd<>", on_account);
}

#[test]
fn the_law_of_files_holds() {
    hold(ON_FILES, "sutmadlL", on_file);
}

#[test]
fn the_law_of_the_system_holds() {
    hold(ON_THE_SYSTEM, "y", |_, _| Resource::System);
}

#[test]
fn the_law_speaks_of_every_action_field_and_role() {
    let law: Vec<_> = [ON_ACCOUNTS, ON_FILES, ON_THE_SYSTEM].into_iter().flat_map(lines).collect();
    let spoken: BTreeSet<_> = law.iter().map(|line| line.action).collect();
    assert_eq!(spoken, Action::ALL.iter().copied().collect());
    for action in [Action::UserCreate, Action::UserUpdate] {
        let said = law.iter().filter(|line| line.action == action);
        let fields: BTreeSet<_> = said.flat_map(|line| line.context.fields.iter()).collect();
        assert_eq!(fields, Field::ALL.into());
    }
    for action in [Action::UserCreate, Action::UserSetRoles] {
        let said = law.iter().filter(|line| line.action == action);
        let roles: BTreeSet<_> = said.flat_map(|line| line.context.roles.iter()).collect();
        assert_eq!(roles, Role::ALL.into());
    }
}

#[test]
fn with_several_roles_any_that_allows_suffices() {
    let permissions = Permissions::open(None).unwrap();
    let holds = |table, letters: &str, resource: fn(char, &Subject) -> Resource<'static>| {
        for line in lines(table) {
            for bits in 0..16 {
                let subject = Subject::account(ME, Roles::from_bits(bits));
                let found = cell(&permissions, &line, &subject, letters, resource);
                let columns = subjects().into_iter().zip(line.cells).skip(1);
                let own = columns.filter(|(column, _)| are_within(roles_of(column), roles_of(&subject)));
                let own: Vec<_> = own.map(|(_, cell)| cell).collect();
                for (number, letter) in letters.chars().enumerate() {
                    let expected = own.iter().any(|cell| cell.as_bytes()[number] != b'-');
                    let is = found.as_bytes()[number] != b'-';
                    assert_eq!(is, expected, "{subject:?} to `{letter}`: {}", line.words);
                }
            }
        }
    };
    holds(ON_ACCOUNTS, "sutmabd<>", on_account);
    holds(ON_FILES, "sutmadlL", on_file);
    holds(ON_THE_SYSTEM, "y", |_, _| Resource::System);
}

#[test]
fn an_inactive_account_may_do_nothing_not_even_see_itself() {
    let permissions = Permissions::open(None).unwrap();
    let every = [Resource::System, on_account('u', &Subject::Anonymous), on_file('u', &Subject::Anonymous)];
    for bits in 0..16 {
        let roles = Roles::from_bits(bits);
        let banned = Subject::Account { id: ME, roles, active: false };
        let myself = Account::active(ME, roles);
        let deleted = Resource::Account(Account { deleted: true, ..myself });
        for &action in Action::ALL {
            for resource in every.iter().chain([&Resource::Account(myself)]) {
                let decision = permissions.decide(&banned, action, resource, &Context::default());
                assert_eq!(decision, Decision::Deny, "{action} {resource:?}");
            }
            let decision =
                permissions.decide(&Subject::account(ME, roles), action, &deleted, &Context::default());
            assert_eq!(decision, Decision::Deny, "{action}");
        }
    }
}

#[test]
fn an_action_on_the_wrong_kind_of_thing_is_denied_to_admins_too() {
    let permissions = Permissions::open(None).unwrap();
    let admin = Subject::account(ME, Role::Admin.into());
    let kinds = [Resource::System, on_account('u', &admin), on_file('u', &admin)];
    for &action in Action::ALL {
        let fitting = kinds
            .iter()
            .filter(|kind| permissions.decide(&admin, action, kind, &Context::default()).is_allow());
        assert_eq!(fitting.count(), 1, "{action}");
    }
}

#[test]
fn a_field_that_is_not_allowed_spoils_those_that_are() {
    let permissions = Permissions::open(None).unwrap();
    let moderator = Subject::account(ME, Role::Moderator.into());
    let user = on_account('u', &moderator);
    let may = |fields: &[Field]| {
        let context = Context { fields: fields.iter().copied().collect(), ..Context::default() };
        permissions.decide(&moderator, Action::UserUpdate, &user, &context).is_allow()
    };
    assert!(may(&[Field::DisplayName, Field::Description]));
    assert!(!may(&[Field::DisplayName, Field::Description, Field::Email]));
}

#[test]
fn a_role_that_is_not_allowed_spoils_those_that_are() {
    let permissions = Permissions::open(None).unwrap();
    let moderator = Subject::account(ME, Role::Moderator.into());
    let may = |roles: &[Role]| {
        let context = Context { roles: roles.iter().copied().collect(), ..Context::default() };
        permissions.decide(&moderator, Action::UserCreate, &Resource::System, &context).is_allow()
    };
    assert!(may(&[Role::User, Role::Tester]));
    assert!(!may(&[Role::User, Role::Tester, Role::Moderator]));
}

#[test]
fn of_two_readings_of_oneself_the_lesser_counts() {
    let permissions = Permissions::open(None).unwrap();
    let was_admin = Subject::account(ME, Role::Admin.into());
    let demoted = Resource::Account(Account::active(ME, Role::User.into()));
    let may = |action| permissions.decide(&was_admin, action, &demoted, &Context::default()).is_allow();
    assert!(!may(Action::UserPurge));
    assert!(may(Action::UserReadPrivate));
}
