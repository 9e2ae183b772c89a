//! What the catalog should hold, the obvious way.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::*;
use super::*;

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    vhosts: BTreeMap<Name, VhostSpec>,
    exchanges: BTreeMap<(Name, Name), ExchangeSpec>,
    queues: BTreeMap<(Name, Name), StoredQueue>,
    bindings: Vec<(Name, BindingSpec)>,
    users: BTreeMap<Name, Arc<User>>,
    permissions: BTreeMap<(Name, Name), Arc<Permissions>>,
    topics: BTreeMap<(Name, Name, Name), Arc<TopicPermissions>>,
    parameters: BTreeMap<(Name, Name, Name), Value>,
    global: BTreeMap<Name, Value>,
    user_limits: BTreeMap<Name, Map<String, Value>>,
    redelivered_up_to: u64,
}

fn same_binding(a: &BindingSpec, b: &BindingSpec) -> bool {
    let sorted = |table: &FieldTable| {
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| format!("{key:?} {value:?}"))
            .collect();
        entries.sort();
        entries
    };
    a.source == b.source
        && a.destination == b.destination
        && a.routing_key == b.routing_key
        && sorted(&a.arguments) == sorted(&b.arguments)
}

impl Model {
    pub(super) fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::PutVhost(spec) => {
                self.vhosts.insert(spec.name.clone(), spec);
            }
            Change::DeleteVhost { vhost } => {
                self.vhosts.remove(&vhost);
                self.exchanges.retain(|(v, _), _| *v != vhost);
                self.queues.retain(|(v, _), _| *v != vhost);
                self.bindings.retain(|(v, _)| *v != vhost);
                self.permissions.retain(|(v, _), _| *v != vhost);
                self.topics.retain(|(v, _, _), _| *v != vhost);
                self.parameters.retain(|(v, _, _), _| *v != vhost);
            }
            Change::PutExchange { vhost, spec } => {
                self.exchanges.insert((vhost, spec.name.clone()), spec);
            }
            Change::DeleteExchange { vhost, exchange } => {
                self.exchanges.remove(&(vhost, exchange));
            }
            Change::PutQueue { vhost, id, spec } => {
                let key = (vhost.clone(), spec.name.clone());
                self.queues.insert(key, StoredQueue { vhost, id, spec });
            }
            Change::DeleteQueue { vhost, queue } => {
                self.queues.remove(&(vhost, queue));
            }
            Change::PutBinding { vhost, spec } => {
                self.bindings
                    .retain(|(v, s)| *v != vhost || !same_binding(s, &spec));
                self.bindings.push((vhost, spec));
            }
            Change::DeleteBinding { vhost, spec } => {
                self.bindings
                    .retain(|(v, s)| *v != vhost || !same_binding(s, &spec));
            }
            Change::PutUser(user) => {
                self.users.insert(user.name.clone(), user);
            }
            Change::DeleteUser { user } => {
                self.users.remove(&user);
                self.permissions.retain(|(_, u), _| *u != user);
                self.topics.retain(|(_, u, _), _| *u != user);
                self.user_limits.remove(&user);
            }
            Change::PutPermissions {
                vhost,
                user,
                permissions,
            } => {
                self.permissions.insert((vhost, user), permissions);
            }
            Change::DeletePermissions { vhost, user } => {
                self.permissions.remove(&(vhost, user));
            }
            Change::PutTopicPermissions {
                vhost,
                user,
                permissions,
            } => {
                self.topics
                    .insert((vhost, user, permissions.exchange.clone()), permissions);
            }
            Change::DeleteTopicPermissions {
                vhost,
                user,
                exchange,
            } => {
                self.topics.retain(|(v, u, e), _| {
                    *v != vhost || *u != user || exchange.as_ref().is_some_and(|name| name != e)
                });
            }
            Change::PutParameter { vhost, parameter } => {
                let key = (vhost, parameter.component, parameter.name);
                self.parameters.insert(key, parameter.value);
            }
            Change::DeleteParameter {
                vhost,
                component,
                name,
            } => {
                self.parameters.remove(&(vhost, component, name));
            }
            Change::PutGlobalParameter { name, value } => {
                self.global.insert(name, value);
            }
            Change::DeleteGlobalParameter { name } => {
                self.global.remove(&name);
            }
            Change::PutUserLimits { user, limits } => {
                self.user_limits.insert(user, limits);
                self.user_limits.retain(|_, limits| !limits.is_empty());
            }
            Change::PutRedelivered { up_to } => self.redelivered_up_to = up_to,
            Change::All(changes) => changes.iter().for_each(|change| self.apply(change)),
        }
    }

    pub(super) fn check(&self, stored: &Stored) {
        assert!(self.equals(stored), "model {self:#?}\nstored {stored:#?}");
    }

    /// Compares as sets: the catalog's order is by length and bytes.
    pub(super) fn equals(&self, stored: &Stored) -> bool {
        fn same<T: std::fmt::Debug>(
            a: impl IntoIterator<Item = T>,
            b: impl IntoIterator<Item = T>,
        ) -> bool {
            let texts = |items: &mut dyn Iterator<Item = T>| {
                let mut texts: Vec<_> = items.map(|item| format!("{item:?}")).collect();
                texts.sort();
                texts
            };
            texts(&mut a.into_iter()) == texts(&mut b.into_iter())
        }
        let permissions = |(key, p): (&(Name, Name), &Arc<Permissions>)| {
            (key.0.clone(), key.1.clone(), Arc::clone(p))
        };
        let topics = |(key, p): (&(Name, Name, Name), &Arc<TopicPermissions>)| {
            (key.0.clone(), key.1.clone(), Arc::clone(p))
        };
        let hash = |user: &Arc<User>| (Arc::clone(user), user.password_hash.as_bytes().to_vec());
        self.redelivered_up_to == stored.redelivered_up_to
            && same(self.vhosts.values(), &stored.vhosts)
            && same(
                self.exchanges
                    .iter()
                    .map(|(key, spec)| (key.0.clone(), spec.clone())),
                stored.exchanges.clone(),
            )
            && same(self.queues.values(), &stored.queues)
            && same(&self.bindings, &stored.bindings)
            && same(self.users.values().map(hash), stored.users.iter().map(hash))
            && same(
                self.permissions.iter().map(permissions),
                stored.permissions.clone(),
            )
            && same(
                self.topics.iter().map(topics),
                stored.topic_permissions.clone(),
            )
            && same(
                self.parameters.iter().map(|(key, value)| {
                    let (component, name) = (key.1.clone(), key.2.clone());
                    let value = value.clone();
                    let parameter = Parameter {
                        component,
                        name,
                        value,
                    };
                    (key.0.clone(), parameter)
                }),
                stored.parameters.clone(),
            )
            && same(
                self.global.iter().map(|(n, v)| (n.clone(), v.clone())),
                stored.global_parameters.clone(),
            )
            && same(
                self.user_limits.iter().map(|(u, l)| (u.clone(), l.clone())),
                stored.user_limits.clone(),
            )
    }
}
