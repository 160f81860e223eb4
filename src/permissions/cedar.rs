//! Gatehouse's questions in Cedar's words: the schema's names as entity ids, and a request for each question.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context as CedarContext, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet,
    Request, Response, RestrictedExpression, Schema,
};

use super::question::{Object, Question, Told};
use super::{Account, Action, Field, PolicyMistake};
use crate::sessions::{Role, Roles};

/// The schema that the program and every policy agree on.
pub(super) const SCHEMA: &str = include_str!("../../policies/schema.cedarschema");

/// Why a question could not be put to Cedar: it does not fit the schema, so the answer is no.
pub(super) type Unfit = Box<dyn std::error::Error + Send + Sync>;

/// The schema and the ids of everything in it that has a fixed name.
pub(super) struct Vocabulary {
    pub(super) schema: Schema,
    pub(super) account: EntityTypeName,
    pub(super) file: EntityTypeName,
    anonymous: EntityUid,
    system: EntityUid,
    roles: Vec<(Role, EntityUid)>,
    fields: Vec<(Field, EntityUid)>,
    actions: Vec<EntityUid>,
    authorizer: Authorizer,
}

impl Vocabulary {
    pub(super) fn open() -> Result<Self, PolicyMistake> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA)
            .map_err(|error| PolicyMistake::at("schema.cedarschema", SCHEMA, &error))?;
        Self::of(schema).map_err(|error| PolicyMistake::new("schema.cedarschema", error.to_string()))
    }

    fn of(schema: Schema) -> Result<Self, Unfit> {
        let role: EntityTypeName = "Role".parse()?;
        let field: EntityTypeName = "Field".parse()?;
        let action: EntityTypeName = "Action".parse()?;
        Ok(Self {
            schema,
            account: "Account".parse()?,
            file: "File".parse()?,
            anonymous: uid(&"Anonymous".parse()?, "anonymous"),
            system: uid(&"System".parse()?, "system"),
            roles: Role::ALL.map(|it| (it, uid(&role, it.name()))).into(),
            fields: Field::ALL.map(|it| (it, uid(&field, it.name()))).into(),
            actions: Action::ALL.iter().map(|it| uid(&action, it.name())).collect(),
            authorizer: Authorizer::new(),
        })
    }

    /// What the action is called in policies.
    pub(super) fn action_uid(&self, action: Action) -> &EntityUid {
        &self.actions[action as usize]
    }

    /// Puts the question to the policies.
    pub(super) fn ask(&self, question: &Question, policies: &PolicySet) -> Result<Response, Unfit> {
        let mut entities = Vec::with_capacity(3);
        let resource = self.resource(question, &mut entities)?;
        let principal = self.principal(question, &mut entities)?;
        let action = self.action_uid(question.action).clone();
        let context = self.context(&question.told)?;
        let request = Request::new(principal, action, resource, context, Some(&self.schema))?;
        // Made here from the schema's own names: to check them against it each time would double the cost.
        let entities = Entities::from_entities(entities, None)?;
        Ok(self.authorizer.is_authorized(&request, policies, &entities))
    }

    fn principal(&self, question: &Question, entities: &mut Vec<Entity>) -> Result<EntityUid, Unfit> {
        let Some(account) = question.principal() else { return Ok(self.anonymous.clone()) };
        // Oneself is one entity; it is there already, as the resource or its owner.
        if !question.is_own() {
            entities.push(self.entity(&account)?);
        }
        Ok(self.account_uid(account.id))
    }

    fn resource(&self, question: &Question, entities: &mut Vec<Entity>) -> Result<EntityUid, Unfit> {
        if let Some(account) = question.account() {
            entities.push(self.entity(account)?);
        }
        match &question.object {
            Object::System => Ok(self.system.clone()),
            Object::Account(account) => Ok(self.account_uid(account.id)),
            Object::File { id, owner, linked_to_subject } => {
                let file = uid(&self.file, &id.to_string());
                let owner = RestrictedExpression::new_entity_uid(self.account_uid(owner.id));
                let attributes = HashMap::from([
                    ("owner".to_owned(), owner),
                    ("linked_to_subject".to_owned(), RestrictedExpression::new_bool(*linked_to_subject)),
                ]);
                entities.push(Entity::new(file.clone(), attributes, HashSet::new())?);
                Ok(file)
            }
        }
    }

    fn entity(&self, account: &Account) -> Result<Entity, Unfit> {
        let attributes = [
            ("active", account.active),
            ("deleted", account.deleted),
            ("blocks_subject", account.blocks_subject),
            ("blocked_by_subject", account.blocked_by_subject),
        ];
        let attributes = attributes.map(|(name, is)| (name.to_owned(), RestrictedExpression::new_bool(is)));
        let roles = self.role_uids(account.roles).cloned().collect();
        Ok(Entity::new(self.account_uid(account.id), attributes.into(), roles)?)
    }

    fn context(&self, told: &Told) -> Result<CedarContext, Unfit> {
        let mut shown = Vec::new();
        if let Some(fields) = told.fields {
            let present = self.fields.iter().filter(|(field, _)| fields.has(*field));
            shown.push(("fields".to_owned(), set(present.map(|(_, uid)| uid))));
        }
        if let Some(roles) = told.roles {
            shown.push(("roles".to_owned(), set(self.role_uids(roles))));
        }
        if let Some(open) = told.directory_open {
            shown.push(("directory_open".to_owned(), RestrictedExpression::new_bool(open)));
        }
        Ok(CedarContext::from_pairs(shown)?)
    }

    fn role_uids(&self, roles: Roles) -> impl Iterator<Item = &EntityUid> {
        self.roles.iter().filter(move |(role, _)| roles.has(*role)).map(|(_, uid)| uid)
    }

    fn account_uid(&self, id: uuid::Uuid) -> EntityUid {
        uid(&self.account, id.as_hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn set<'a>(uids: impl Iterator<Item = &'a EntityUid>) -> RestrictedExpression {
    RestrictedExpression::new_set(uids.cloned().map(RestrictedExpression::new_entity_uid))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::{Context as Known, File, Resource, Subject};
    use super::*;

    #[test]
    fn what_cedar_is_shown_is_what_the_schema_promises() {
        let vocabulary = Vocabulary::open().unwrap();
        let [me, other] = [1, 2].map(|id| Account::active(Uuid::from_u128(id), Roles::from_bits(15)));
        let file = |owner| Resource::File(File { id: 7, owner, linked: &[] });
        for subject in [Subject::Anonymous, Subject::account(me.id, me.roles)] {
            for resource in [Resource::Account(me), Resource::Account(other), file(me), file(other)] {
                let question = Question::new(&subject, Action::UserRead, &resource, Known::default());
                let mut entities = Vec::new();
                vocabulary.resource(&question, &mut entities).unwrap();
                vocabulary.principal(&question, &mut entities).unwrap();
                Entities::from_entities(entities, Some(&vocabulary.schema)).unwrap();
            }
        }
    }
}
