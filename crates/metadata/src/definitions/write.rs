//! Writing a definitions document: the keys and shapes are those of RabbitMQ 4.3.

use serde_json::{Map, Value, json};

use super::{Definitions, PasswordDefinition, Scope, UserDefinition, VhostDefinition};
use crate::json::from_table;
use crate::policy::Policy;
use crate::topology::{BindingSpec, Destination, ExchangeSpec, Name, QueueSpec};

/// The release that the document says it is of: who reads it may look at that.
const RABBITMQ_VERSION: &str = "4.3.6";

impl Definitions {
    /// The document. One vhost's has no users, and its items do not name the vhost.
    pub fn to_json(&self, scope: &Scope) -> Value {
        let mut out = self.head(scope);
        let mut put = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
        let of = |vhost: &Name, mut item: Value| {
            if let (Scope::Cluster(_), Value::Object(item)) = (scope, &mut item) {
                item.insert("vhost".into(), (**vhost).into());
            }
            item
        };
        let parameters = self.parameters.iter().map(|(vhost, p)| {
            of(
                vhost,
                json!({"component": *p.component, "name": *p.name, "value": p.value}),
            )
        });
        put("parameters", parameters.collect());
        let policies = self.policies.iter();
        put(
            "policies",
            policies
                .map(|(vhost, item)| of(vhost, policy(item)))
                .collect(),
        );
        let exchanges = self.exchanges.iter();
        put(
            "exchanges",
            exchanges
                .map(|(vhost, item)| of(vhost, exchange(item)))
                .collect(),
        );
        let queues = self.queues.iter();
        put(
            "queues",
            queues.map(|(vhost, item)| of(vhost, queue(item))).collect(),
        );
        let bindings = self.bindings.iter();
        put(
            "bindings",
            bindings
                .map(|(vhost, item)| of(vhost, binding(item)))
                .collect(),
        );
        out.into()
    }

    /// What the document is of, and what is not in a vhost.
    fn head(&self, scope: &Scope) -> Map<String, Value> {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
        for key in ["rabbit_version", "rabbitmq_version", "product_version"] {
            put(key, RABBITMQ_VERSION.into());
        }
        put("product_name", "Leveret".into());
        match scope {
            Scope::Cluster(name) => {
                put("rabbitmq_definition_format", "cluster".into());
                put("original_cluster_name", name.as_str().into());
                put(
                    "explanation",
                    format!("Definitions of cluster '{name}'").into(),
                );
                put("users", self.users.iter().map(user).collect());
                put("vhosts", self.vhosts.iter().map(vhost).collect());
                put("permissions", self.permissions_json());
                put("topic_permissions", self.topic_permissions_json());
                let global = self.global_parameters.iter();
                let global = global.map(|(name, value)| json!({"name": **name, "value": value}));
                put("global_parameters", global.collect());
            }
            Scope::Vhost(name) => {
                put("rabbitmq_definition_format", "single_virtual_host".into());
                put("original_vhost_name", (**name).into());
                put(
                    "explanation",
                    format!("Definitions of virtual host '{name}'").into(),
                );
                if let Some(found) = self.vhosts.iter().find(|vhost| vhost.spec.name == *name) {
                    put("description", found.spec.description.as_str().into());
                    put("metadata", metadata(found));
                    put("limits", found.limits.clone().into());
                }
            }
        }
        out
    }

    fn permissions_json(&self) -> Value {
        let permissions = self.permissions.iter().map(|(vhost, user, permissions)| {
            json!({
                "user": **user,
                "vhost": **vhost,
                "configure": permissions.configure.source(),
                "write": permissions.write.source(),
                "read": permissions.read.source(),
            })
        });
        permissions.collect()
    }

    fn topic_permissions_json(&self) -> Value {
        let permissions = self
            .topic_permissions
            .iter()
            .map(|(vhost, user, permissions)| {
                json!({
                    "user": **user,
                    "vhost": **vhost,
                    "exchange": *permissions.exchange,
                    "write": permissions.write.source(),
                    "read": permissions.read.source(),
                })
            });
        permissions.collect()
    }
}

fn user(user: &UserDefinition) -> Value {
    use crate::identity::HashingAlgorithm;
    let (hash, algorithm) = match &user.password {
        PasswordDefinition::Hash(hash, algorithm) => (hash.to_base64(), *algorithm),
        PasswordDefinition::None | PasswordDefinition::Clear(_) => {
            (String::new(), HashingAlgorithm::DEFAULT)
        }
    };
    json!({
        "name": *user.name,
        "password_hash": hash,
        "hashing_algorithm": algorithm.name(),
        "tags": user.tags,
        "limits": user.limits.clone().unwrap_or_default(),
    })
}

fn metadata(vhost: &VhostDefinition) -> Value {
    let mut metadata = json!({
        "description": vhost.spec.description,
        "tags": vhost.spec.tags,
        "default_queue_type": vhost.spec.default_queue_type.as_deref().unwrap_or("classic"),
    });
    if vhost.spec.protected_from_deletion {
        metadata["protected_from_deletion"] = true.into();
    }
    metadata
}

fn vhost(vhost: &VhostDefinition) -> Value {
    let mut out = json!({
        "name": *vhost.spec.name,
        "limits": vhost.limits,
        "metadata": metadata(vhost),
    });
    if vhost.spec.tracing {
        out["tracing"] = true.into();
    }
    out
}

fn policy(policy: &Policy) -> Value {
    json!({
        "name": *policy.name,
        "pattern": policy.pattern,
        "apply-to": policy.apply_to.name(),
        "priority": policy.priority,
        "definition": policy.definition,
    })
}

fn exchange(spec: &ExchangeSpec) -> Value {
    json!({
        "name": *spec.name,
        "type": spec.kind,
        "durable": spec.durable,
        "auto_delete": spec.auto_delete,
        "arguments": from_table(&spec.arguments),
    })
}

fn queue(spec: &QueueSpec) -> Value {
    let arguments = from_table(&spec.arguments);
    let kind = arguments.get("x-queue-type").and_then(Value::as_str);
    json!({
        "name": *spec.name,
        "type": kind.filter(|kind| !kind.is_empty()).unwrap_or("classic"),
        "durable": spec.durable,
        "auto_delete": spec.auto_delete,
        "arguments": arguments,
    })
}

fn binding(spec: &BindingSpec) -> Value {
    let (kind, destination) = match &spec.destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    };
    json!({
        "source": *spec.source,
        "destination": **destination,
        "destination_type": kind,
        "routing_key": *spec.routing_key,
        "arguments": from_table(&spec.arguments),
    })
}
