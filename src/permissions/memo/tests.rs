//! What is remembered is what Cedar would say.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use uuid::Uuid;

use super::super::policies::{DEFAULT, Policies, Source};
use super::super::{Account, Context, Field, File, Permissions, Resource};
use super::*;

const ANN: Uuid = Uuid::from_u128(1);
const BOB: Uuid = Uuid::from_u128(2);
const EVE: Uuid = Uuid::from_u128(3);

fn with(text: &str) -> Permissions {
    let permissions = Permissions::open(None).unwrap();
    let sources = [Source { name: "test.cedar".to_owned(), text: text.to_owned() }];
    let policies = Policies::found(Some(&sources), &permissions.vocabulary).unwrap();
    permissions.live.store(std::sync::Arc::new(policies));
    permissions
}

/// Something that is asked, as a caller asks it.
#[derive(Clone, Debug)]
struct Asked {
    subject: Subject,
    action: Action,
    object: Kind,
    context: Context,
}

#[derive(Clone, Debug)]
enum Kind {
    System,
    Account(Account),
    File(Account, Vec<Uuid>),
}

impl Asked {
    fn resource(&self) -> Resource<'_> {
        match &self.object {
            Kind::System => Resource::System,
            Kind::Account(account) => Resource::Account(*account),
            Kind::File(owner, linked) => Resource::File(File { id: 7, owner: *owner, linked }),
        }
    }

    fn question(&self) -> Question {
        Question::new(&self.subject, self.action, &self.resource(), self.context)
    }

    /// The same question with one thing changed: what a careless memory would take for the same.
    fn neighbours(&self) -> Vec<Self> {
        let changed = |change: &dyn Fn(&mut Self)| {
            let mut neighbour = self.clone();
            change(&mut neighbour);
            neighbour
        };
        let mut all = vec![
            changed(&|it| it.context.directory_open ^= true),
            changed(&|it| it.subject = Subject::Anonymous),
            changed(&|it| it.on_subject(|_, _, active| *active ^= true)),
            changed(&|it| it.on_account(|account| account.active ^= true)),
            changed(&|it| it.on_account(|account| account.deleted ^= true)),
            changed(&|it| it.on_account(|account| account.blocks_subject ^= true)),
            changed(&|it| it.on_account(|account| account.blocked_by_subject ^= true)),
        ];
        for role in Role::ALL {
            let toggle = |roles: &mut Roles| *roles = Roles::from_bits(roles.bits() ^ role.bit());
            all.push(changed(&|it| toggle(&mut it.context.roles)));
            all.push(changed(&|it| it.on_subject(|_, roles, _| toggle(roles))));
            all.push(changed(&|it| it.on_account(|account| toggle(&mut account.roles))));
        }
        for field in Field::ALL {
            all.push(changed(&|it| {
                let fields = Field::ALL.into_iter();
                it.context.fields =
                    fields.filter(|other| self.context.fields.has(*other) != (*other == field)).collect();
            }));
        }
        for id in [ANN, BOB, EVE] {
            all.push(changed(&|it| it.on_subject(|own, _, _| *own = id)));
            all.push(changed(&|it| it.on_account(|account| account.id = id)));
            all.push(changed(&|it| {
                if let Kind::File(_, linked) = &mut it.object {
                    *linked = if linked.contains(&id) { Vec::new() } else { vec![id] };
                }
            }));
        }
        all
    }

    fn on_subject(&mut self, change: impl Fn(&mut Uuid, &mut Roles, &mut bool)) {
        if let Subject::Account { id, roles, active } = &mut self.subject {
            change(id, roles, active);
        }
    }

    fn on_account(&mut self, change: impl Fn(&mut Account)) {
        if let Kind::Account(account) | Kind::File(account, _) = &mut self.object {
            change(account);
        }
    }
}

fn id() -> impl Strategy<Value = Uuid> {
    select(vec![ANN, BOB, EVE])
}

fn roles() -> impl Strategy<Value = Roles> {
    (0..16).prop_map(Roles::from_bits)
}

fn subject() -> impl Strategy<Value = Subject> {
    let account = (id(), roles(), any::<bool>());
    prop_oneof![
        1 => Just(Subject::Anonymous),
        5 => account.prop_map(|(id, roles, active)| Subject::Account { id, roles, active }),
    ]
}

fn account() -> impl Strategy<Value = Account> {
    let flags = any::<[bool; 4]>();
    (id(), roles(), flags).prop_map(|(id, roles, [active, deleted, blocks_subject, blocked_by_subject])| {
        Account { id, roles, active, deleted, blocks_subject, blocked_by_subject }
    })
}

/// Every action; those that are told something, and those on files, more often.
fn action() -> impl Strategy<Value = Action> {
    use Action::{FileDelete, FileRead, FileUpdate, UserCreate, UserList, UserSetRoles, UserUpdate};
    let rich = vec![UserList, UserCreate, UserUpdate, UserSetRoles, FileRead, FileUpdate, FileDelete];
    prop_oneof![select(rich), select(Action::ALL.to_vec())]
}

fn context() -> impl Strategy<Value = Context> {
    let fields =
        prop_oneof![subsequence(Field::ALL.to_vec(), 0..=2), subsequence(Field::ALL.to_vec(), 0..=12)];
    (fields, roles(), any::<bool>()).prop_map(|(fields, roles, directory_open)| Context {
        fields: fields.into_iter().collect(),
        roles,
        directory_open,
    })
}

/// The kind of object that the action is done to.
fn fitting(action: Action, account: Account, linked: Vec<Uuid>) -> Kind {
    match action.name().split_once(':') {
        Some(("user", "list" | "create") | ("file", "create")) => Kind::System,
        Some(("user", _)) => Kind::Account(account),
        Some(("file", _)) => Kind::File(account, linked),
        _ => Kind::System,
    }
}

/// A question about this action: now and then about something that it is not done to.
fn asked(action: impl Strategy<Value = Action>) -> impl Strategy<Value = Asked> {
    let linked = subsequence(vec![ANN, BOB, EVE], 0..=3);
    let parts = (subject(), action, account(), linked, context(), 0..20);
    parts.prop_map(|(subject, action, account, linked, context, stray)| {
        let object = match stray {
            0 => Kind::System,
            1 => Kind::File(account, linked),
            _ => fitting(action, account, linked),
        };
        Asked { subject, action, object, context }
    })
}

/// Everything that a policy can look at, names of accounts and files included.
const CONDITIONS: [(Action, &[&str]); 5] = [
    (
        Action::UserUpdate,
        &[
            r#"principal in Role::"admin""#,
            r#"principal in [Role::"user", Role::"tester"]"#,
            r#"resource in Role::"moderator""#,
            "principal.active",
            "principal.deleted",
            "principal.blocks_subject",
            "principal.blocked_by_subject",
            "resource.active",
            "resource.deleted",
            "resource.blocks_subject",
            "resource.blocked_by_subject",
            "principal == resource",
            r#"context.fields.contains(Field::"email")"#,
            "context.fields.isEmpty()",
            r#"principal == Account::"00000000-0000-0000-0000-000000000002""#,
            r#"[Account::"00000000-0000-0000-0000-000000000003"].contains(resource)"#,
        ],
    ),
    (
        Action::FileUpdate,
        &[
            r#"principal in Role::"tester""#,
            r#"resource.owner in Role::"admin""#,
            "resource.owner == principal",
            "resource.owner.active",
            "resource.owner.deleted",
            "resource.owner.blocks_subject",
            "resource.owner.blocked_by_subject",
            "resource.linked_to_subject",
            r#"resource == File::"7""#,
            r#"resource.owner in Account::"00000000-0000-0000-0000-000000000002""#,
        ],
    ),
    (
        Action::UserCreate,
        &[r#"context.fields.contains(Field::"uuid")"#, r#"context.roles.contains(Role::"user")"#],
    ),
    (Action::UserSetRoles, &[r#"[Role::"user", Role::"tester"].containsAll(context.roles)"#]),
    (
        Action::UserList,
        &["context.directory_open", "principal is Anonymous", "principal is Account && principal.active"],
    ),
];

fn policy_text(effect: &str, action: Action, condition: &str) -> String {
    format!(r#"{effect} (principal, action == Action::"{action}", resource) when {{ {condition} }};"#)
}

/// A policy with one or two of the conditions, or their opposites.
fn policy() -> impl Strategy<Value = String> {
    let condition = select(CONDITIONS.to_vec()).prop_flat_map(|(action, conditions)| {
        let some = vec((select(conditions), any::<bool>()), 1..=2);
        (Just(action), some)
    });
    (condition, select(vec!["permit", "permit", "forbid"])).prop_map(|((action, some), effect)| {
        let part = |(part, is): (&str, bool)| if is { format!("({part})") } else { format!("!({part})") };
        let parts: Vec<_> = some.into_iter().map(part).collect();
        policy_text(effect, action, &parts.join(" && "))
    })
}

/// Asks each question among its neighbours, so that the memory is full of what may be confused with it.
fn assert_same_as_cedar(permissions: &Permissions, questions: &[Asked]) -> Result<(), TestCaseError> {
    let policies = permissions.live.load();
    for asked in questions.iter().flat_map(|asked| [vec![asked.clone()], asked.neighbours()].concat()) {
        let Asked { subject, action, context, .. } = &asked;
        let decided = permissions.decide(subject, *action, &asked.resource(), context);
        prop_assert_eq!(decided, permissions.ask(&asked.question(), &policies), "{:?}", asked);
        let again = permissions.decide(subject, *action, &asked.resource(), context);
        prop_assert_eq!(decided, again);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_remembered_is_what_cedar_says(questions in vec(asked(action()), 20)) {
        assert_same_as_cedar(&with(DEFAULT), &questions)?;
    }

    #[test]
    fn what_is_remembered_is_what_cedar_says_of_any_policies(
        policies in vec(policy(), 1..5),
        questions in vec(asked(select(CONDITIONS.map(|(action, _)| action).to_vec())), 20),
    ) {
        assert_same_as_cedar(&with(&policies.join("\n")), &questions)?;
    }
}

#[test]
fn whatever_a_policy_looks_at_is_told_apart() {
    let account = Account::active(BOB, Role::User.into());
    for (action, conditions) in CONDITIONS {
        let asked = |subject| Asked {
            subject,
            action,
            object: fitting(action, account, vec![ANN]),
            context: Context::default(),
        };
        let questions = [
            asked(Subject::account(ANN, Role::User.into())),
            asked(Subject::account(BOB, Role::User.into())),
        ];
        for condition in conditions {
            let permissions = with(&policy_text("permit", action, condition));
            assert_same_as_cedar(&permissions, &questions).unwrap();
        }
    }
}

#[test]
fn every_question_has_room_in_the_key() {
    let everything = Account {
        id: BOB,
        roles: Roles::from_bits(15),
        active: true,
        deleted: true,
        blocks_subject: true,
        blocked_by_subject: true,
    };
    let asked = Asked {
        subject: Subject::account(ANN, Roles::from_bits(15)),
        action: Action::ALL[Action::ALL.len() - 1],
        object: Kind::File(everything, vec![ANN]),
        context: Context::default(),
    };
    let Key(bits) = Key::of(&asked.question());
    assert!(bits.leading_zeros() >= 2, "two bits are left for the slot");
}

#[test]
fn a_policy_about_one_account_is_not_taken_for_one_about_all() {
    let text = format!(r#"permit (principal, action == Action::"user:ban", resource == Account::"{BOB}");"#);
    let permissions = with(&text);
    let ann = Subject::account(ANN, Role::User.into());
    let may = |id| {
        let target = Resource::Account(Account::active(id, Role::User.into()));
        permissions.decide(&ann, Action::UserBan, &target, &Context::default()).is_allow()
    };
    assert_eq!([EVE, BOB, EVE, BOB].map(may), [false, true, false, true]);
}

#[test]
fn only_actions_that_a_name_decides_go_without_memory() {
    let text = format!(
        r#"permit (principal == Account::"{BOB}", action in [Action::"user:ban", Action::"stats:read"], resource);
           permit (principal in Role::"admin", action, resource);"#
    );
    let by_name = with(&text).live.load().by_name;
    assert_eq!(by_name, [Action::UserBan, Action::StatsRead].into_iter().collect());
}
