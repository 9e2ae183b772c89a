//! Exporting all that the broker was told, and importing what another one was told.
//!
//! An import was read and checked before ([`Definitions::parse`]); here it is applied in RabbitMQ's order: users,
//! vhosts, permissions, exchanges, parameters, policies, queues, bindings. What is there already stays as it is,
//! except users, permissions, parameters and policies, which are replaced. What this broker cannot have, streams for
//! example, is left out with a warning; what it refuses otherwise is reported, and the rest is imported all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::queue_arguments;
use metadata::definitions::{
    Definitions, PasswordDefinition, Scope, UserDefinition, VhostDefinition,
};
use metadata::identity::{Permissions, TopicPermissions, VhostSpec};
use metadata::parameter::Parameter;
use metadata::policy::{Policy, PolicyKind, unknown_settings};
use metadata::topology::{Destination, Name, QueueSpec};
use serde_json::Value;
use wire::amqp091::table::FieldValue;

use crate::administration::Act;
use crate::catalog::Ticket;
use crate::connections::ConnectionId;
use crate::events::NodeEvent;
use crate::identities::{IdentityError, NewPassword};
use crate::node::Node;
use crate::vhost::Vhost;

/// No connection: what is imported belongs to nobody.
const NOBODY: ConnectionId = ConnectionId(0);

/// What became of an import.
#[derive(Debug, Default)]
pub struct Imported {
    /// What was left out or changed, a sentence each.
    pub warnings: Vec<String>,
    /// What was refused, a sentence each, in RabbitMQ's words where it has some. All else was imported.
    pub refused: Vec<String>,
    /// When all of it is on disk.
    pub ticket: Ticket,
}

/// Exporting.
impl Node {
    /// The definitions of the whole broker, as a JSON document.
    pub fn export_definitions(&self) -> Value {
        let mut definitions = self.collect(&self.vhosts());
        for user in self.identities.users() {
            definitions.users.push(UserDefinition {
                name: Arc::clone(&user.name),
                password: match user.password_hash.is_none() {
                    true => PasswordDefinition::None,
                    false => {
                        let hash = user.password_hash.clone();
                        PasswordDefinition::Hash(hash, user.hashing_algorithm)
                    }
                },
                tags: user.tags.clone(),
                limits: self.identities.limits_as_set(&user.name),
            });
        }
        for vhost in self.vhosts() {
            let of = |user: Name| (Arc::clone(&vhost.name), user);
            for (user, permissions) in self.identities.permissions_in(&vhost.name) {
                let (vhost, user) = of(user);
                let permissions = Permissions::clone(&permissions);
                definitions.permissions.push((vhost, user, permissions));
            }
            for (user, permissions) in self.identities.topic_permissions_in(&vhost.name) {
                let (vhost, user) = of(user);
                let permissions = TopicPermissions::clone(&permissions);
                definitions
                    .topic_permissions
                    .push((vhost, user, permissions));
            }
        }
        let global = self.global_parameters().into_iter();
        // RabbitMQ keeps such parameters to itself, too.
        let exported = global.filter(|(name, _)| !name.starts_with("internal"));
        definitions.global_parameters = exported.collect();
        definitions.to_json(&Scope::Cluster(self.cluster_name()))
    }

    /// The definitions of one vhost; `None` if it is not there.
    pub fn export_vhost_definitions(&self, vhost: &str) -> Option<Value> {
        let found = self.vhost(vhost)?;
        let name = Arc::clone(&found.name);
        Some(self.collect(&[found]).to_json(&Scope::Vhost(name)))
    }

    fn collect(&self, vhosts: &[Arc<Vhost>]) -> Definitions {
        let mut definitions = Definitions::default();
        for vhost in vhosts {
            let name = || Arc::clone(&vhost.name);
            definitions.vhosts.push(VhostDefinition {
                spec: VhostSpec::clone(&vhost.spec()),
                limits: vhost.limits_as_set(),
            });
            definitions
                .parameters
                .extend(self.parameters(Some(&vhost.name)));
            let policies = vhost.policies(PolicyKind::User);
            let policies = policies
                .iter()
                .map(|policy| (name(), Policy::clone(policy)));
            definitions.policies.extend(policies);
            vhost.read(|topology| {
                let exchanges = topology.router.exchanges();
                let own = |name: &str| !name.is_empty() && !name.starts_with("amq.");
                let exchanges = exchanges
                    .into_iter()
                    .filter(|x| own(&x.name) && !x.internal);
                definitions
                    .exchanges
                    .extend(exchanges.map(|x| (name(), x.clone())));
                let queues = topology.queues();
                let queues = queues.iter().filter(|queue| !queue.spec.exclusive);
                definitions
                    .queues
                    .extend(queues.map(|queue| (name(), queue.spec.clone())));
                let is_exclusive = |destination: &Destination| match destination {
                    Destination::Queue(name) => topology
                        .queue(name)
                        .is_some_and(|queue| queue.spec.exclusive),
                    Destination::Exchange(_) => false,
                };
                let bindings = topology.router.bindings().into_iter();
                let bindings = bindings
                    .filter(|spec| !spec.source.is_empty() && !is_exclusive(&spec.destination));
                definitions
                    .bindings
                    .extend(bindings.map(|spec| (name(), spec)));
            });
        }
        definitions
    }
}

/// Importing.
impl Node {
    /// Applies definitions.
    pub fn import_definitions(&self, act: Act<'_>, definitions: Definitions) -> Imported {
        let mut import = Import {
            node: self,
            act,
            out: Imported {
                warnings: definitions.warnings,
                ..Imported::default()
            },
        };
        import.users(definitions.users);
        import.vhosts(definitions.vhosts);
        for (vhost, user, permissions) in definitions.permissions {
            import.permissions(&vhost, &user, |node, vhost| {
                node.identities.set_permissions(&user, vhost, permissions)
            });
        }
        for (vhost, user, permissions) in definitions.topic_permissions {
            import.permissions(&vhost, &user, |node, vhost| {
                node.identities
                    .set_topic_permissions(&user, vhost, permissions)
            });
        }
        for (name, value) in definitions.global_parameters {
            self.set_global_parameter(act, &name, value);
        }
        // A limit must not refuse what comes with it in whatever order, so they are looked at as a whole.
        let queues = import.within_limits(definitions.queues);
        import.exchanges(definitions.exchanges);
        import.policies(definitions.policies);
        for (vhost, parameter) in definitions.parameters {
            import.parameter(&vhost, parameter);
        }
        import.queues(queues);
        import.bindings(definitions.bindings);
        let Import { mut out, .. } = import;
        out.ticket = self.catalog.last_ticket();
        let mut properties = serde_json::Map::new();
        properties.insert("warnings".into(), out.warnings.len().into());
        properties.insert("refused".into(), out.refused.len().into());
        self.events.publish(NodeEvent {
            name: "definitions_imported",
            by: act.by.into(),
            at_ms: Some(act.now_ms),
            properties,
        });
        out
    }
}

struct Import<'a> {
    node: &'a Node,
    act: Act<'a>,
    out: Imported,
}

impl Import<'_> {
    fn refuse(&mut self, what: &str, why: impl std::fmt::Display) {
        self.out.refused.push(format!("{what}: {why}"));
    }

    /// The vhost, or a refusal of what belongs there.
    fn vhost(&mut self, name: &str, what: impl FnOnce() -> String) -> Option<Arc<Vhost>> {
        let found = self.node.vhost(name);
        if found.is_none() {
            self.refuse(&what(), format_args!("vhost '{name}' not found"));
        }
        found
    }

    fn users(&mut self, users: Vec<UserDefinition>) {
        for UserDefinition {
            name,
            password,
            tags,
            limits,
        } in users
        {
            let password = match &password {
                PasswordDefinition::Clear(text) => NewPassword::Clear(text.as_bytes()),
                PasswordDefinition::Hash(hash, algorithm) => {
                    NewPassword::Hashed(hash.clone(), *algorithm)
                }
                PasswordDefinition::None => NewPassword::None,
            };
            let identities = &self.node.identities;
            let added = match identities.add_user(&name, password.clone(), tags.clone()) {
                Err(IdentityError::UserExists(_)) => identities
                    .change_password(&name, password)
                    .and_then(|_| identities.set_tags(&name, tags)),
                added => added,
            };
            if let Err(error) = added {
                self.refuse(&format!("user '{name}'"), error);
                continue;
            }
            if let Some(limits) = limits {
                // They were checked when they were read, and the user is there.
                let _ = identities.change_limits(&name, |set| *set = limits);
            }
        }
    }

    fn vhosts(&mut self, vhosts: Vec<VhostDefinition>) {
        for VhostDefinition { mut spec, limits } in vhosts {
            let name = Arc::clone(&spec.name);
            if let Some(kind) = spec.default_queue_type.as_deref()
                && !["classic", "quorum"].contains(&kind)
            {
                self.out.warnings.push(format!(
                    "vhost '{name}': the default queue type '{kind}' was left out"
                ));
                spec.default_queue_type = None;
            }
            if self.node.add_vhost(spec.clone()).is_none() {
                self.node.change_vhost(&name, |there| *there = spec);
            }
            if let Some(found) = self.node.vhost(&name)
                && !limits.is_empty()
                && let Err(error) = found.change_limits(|set| *set = limits)
            {
                self.refuse(&format!("vhost '{name}'"), error.lines().join("; "));
            }
        }
    }

    fn permissions(
        &mut self,
        vhost: &str,
        user: &str,
        set: impl FnOnce(&Node, &Name) -> Result<Ticket, IdentityError>,
    ) {
        let what = || format!("permissions of user '{user}' in vhost '{vhost}'");
        if let Some(found) = self.vhost(vhost, what)
            && let Err(error) = set(self.node, &found.name)
        {
            self.refuse(&what(), error);
        }
    }

    fn exchanges(&mut self, exchanges: Vec<(Name, metadata::topology::ExchangeSpec)>) {
        for (vhost, spec) in exchanges {
            let what = format!("exchange '{}' in vhost '{vhost}'", spec.name);
            let Some(found) = self.vhost(&vhost, || what.clone()) else {
                continue;
            };
            if found.find_exchange(&spec.name).is_err()
                && let Err(refusal) = found.declare_exchange(spec)
            {
                self.refuse(&what, refusal);
            }
        }
    }

    fn policies(&mut self, policies: Vec<(Name, Policy)>) {
        for (vhost, policy) in policies {
            let what = format!("policy '{}' in vhost '{vhost}'", policy.name);
            let (kind, value) = (PolicyKind::User, policy.value());
            let set = self
                .node
                .set_policy(self.act, &vhost, kind, &policy.name, &value);
            if let Err(denied) = set {
                self.refuse(&what, denied);
            }
        }
    }

    fn parameter(&mut self, vhost: &str, mut parameter: Parameter) {
        let (component, name) = (
            Arc::clone(&parameter.component),
            Arc::clone(&parameter.name),
        );
        let what = format!("parameter '{name}' of '{component}' in vhost '{vhost}'");
        let Some(found) = self.vhost(vhost, || what.clone()) else {
            return;
        };
        if Parameter::is_foreign(&component) {
            self.out.warnings.push(format!(
                "{what}: kept for an export; this broker has no such component"
            ));
            found.keep_foreign_parameter(parameter);
            return;
        }
        if *component == *PolicyKind::Operator.component()
            && let Some(definition) = parameter.value.get_mut("definition")
            && let Some(definition) = definition.as_object_mut()
        {
            for key in unknown_settings(PolicyKind::Operator, definition) {
                definition.remove(&key);
                let text = format!("{what}: the setting '{key}' was left out");
                self.out.warnings.push(text);
            }
        }
        let value = &parameter.value;
        let set = self
            .node
            .set_parameter(self.act, vhost, &component, &name, value);
        if let Err(denied) = set {
            self.refuse(&what, denied);
        }
    }

    /// All queues if the limits of their vhosts leave room for the new ones among them; those of a vhost that has
    /// no room are left out as a whole, in RabbitMQ's words.
    fn within_limits(&mut self, mut queues: Vec<(Name, QueueSpec)>) -> Vec<(Name, QueueSpec)> {
        let mut added: BTreeMap<Name, u64> = BTreeMap::new();
        for (vhost, spec) in &queues {
            if let Some(found) = self.node.vhost(vhost)
                && found.find_queue(&spec.name).is_err()
            {
                *added.entry(Arc::clone(vhost)).or_default() += 1;
            }
        }
        for (vhost, added) in added {
            let Some(found) = self.node.vhost(&vhost) else {
                continue;
            };
            let there = found.read(|topology| topology.queue_len()) as u64;
            if let Some(max) = found.limits().queues_max.filter(|max| *max < there + added) {
                self.out.refused.push(format!(
                    "Adding {added} queue(s) to virtual host \"{vhost}\" would exceed the limit of \
                     {max} queue(s).\n\nThis virtual host currently has {there} queue(s) \
                     defined.\n\nImport aborted!"
                ));
                queues.retain(|(other, _)| *other != vhost);
            }
        }
        queues
    }

    fn queues(&mut self, queues: Vec<(Name, QueueSpec)>) {
        for (vhost, mut spec) in queues {
            let what = format!("queue '{}' in vhost '{vhost}'", spec.name);
            let Some(found) = self.vhost(&vhost, || what.clone()) else {
                continue;
            };
            if found.find_queue(&spec.name).is_ok() {
                continue;
            }
            let kind = spec.arguments.find(queue_arguments::QUEUE_TYPE);
            if kind == Some(&FieldValue::from("stream")) {
                let text = format!("{what}: left out: streams are not supported");
                self.out.warnings.push(text);
                continue;
            }
            // The first version of classic queues' storage: no such choice is left (RabbitMQ 4.3 refuses it).
            let version = spec.arguments.find("x-queue-version");
            if version.is_some_and(|version| version.as_integer() != Some(2)) {
                spec.arguments.remove("x-queue-version");
                let text = format!("{what}: the argument 'x-queue-version' was left out");
                self.out.warnings.push(text);
            }
            if let Err(refusal) = found.declare_queue(self.act.now_ms, spec, NOBODY) {
                self.refuse(&what, refusal);
            }
        }
    }

    fn bindings(&mut self, bindings: Vec<(Name, metadata::topology::BindingSpec)>) {
        for (vhost, spec) in bindings {
            let destination = match &spec.destination {
                Destination::Queue(name) | Destination::Exchange(name) => Arc::clone(name),
            };
            let what = format!(
                "binding '{}' -> '{destination}' in vhost '{vhost}'",
                spec.source
            );
            let Some(found) = self.vhost(&vhost, || what.clone()) else {
                continue;
            };
            if let Err(refusal) = found.bind(self.act.now_ms, spec) {
                self.refuse(&what, refusal);
            }
        }
    }
}

#[cfg(test)]
mod tests;
