//! Requests about what is set while the broker runs: policies, parameters, limits, definitions.

use metadata::definitions::Definitions;
use metadata::identity::Permissions;
use metadata::parameter::{VHOST_LIMITS, VHOST_LIMITS_NAME};
use metadata::policy::{Policy, PolicyKind, Target};
use node::administration::{Act, Denied};
use node::catalog::Ticket;
use node::vhost::Vhost;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Broker};
use super::protocol::{Cell, Failure, Response};

/// RabbitMQ's name for whoever uses its command line.
const CLI_USER: &str = "rmq-cli";

/// What is to be set, cleared or shown. The names are rabbitmqctl's. Values are JSON as it was typed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "set", rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "each is rabbitmqctl's verb, with that verb's arguments"
)]
pub enum ParameterRequest {
    SetPolicy {
        vhost: String,
        operator: bool,
        name: String,
        pattern: String,
        definition: String,
        priority: i64,
        apply_to: String,
    },
    ClearPolicy {
        vhost: String,
        operator: bool,
        name: String,
    },
    ListPolicies {
        vhost: String,
        operator: bool,
    },
    ListPoliciesThatMatch {
        vhost: String,
        /// `queue` or `exchange`.
        object_type: String,
        name: String,
    },
    SetParameter {
        vhost: String,
        component: String,
        name: String,
        value: String,
    },
    ClearParameter {
        vhost: String,
        component: String,
        name: String,
    },
    ListParameters {
        vhost: String,
    },
    SetGlobalParameter {
        name: String,
        value: String,
    },
    ClearGlobalParameter {
        name: String,
    },
    ListGlobalParameters,
    SetVhostLimits {
        vhost: String,
        definition: String,
    },
    ClearVhostLimits {
        vhost: String,
    },
    ListVhostLimits {
        /// None for all vhosts that have limits.
        vhost: Option<String>,
    },
    SetUserLimits {
        user: String,
        definition: String,
    },
    ClearUserLimits {
        user: String,
        /// None for all.
        name: Option<String>,
    },
    ListUserLimits {
        /// None for all users that have limits.
        user: Option<String>,
    },
    SetPermissionsGlobally {
        user: String,
        configure: String,
        write: String,
        read: String,
    },
    UpdateVhostMetadata {
        vhost: String,
        description: Option<String>,
        tags: Option<Vec<String>>,
        default_queue_type: Option<String>,
        protected_from_deletion: Option<bool>,
    },
    SetClusterName {
        name: String,
    },
    ExportDefinitions,
    ImportDefinitions {
        document: Value,
    },
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Failure {
        match denied {
            Denied::NoSuchVhost(name) => Failure::NoSuchVhost(name),
            Denied::NoSuchUser(name) => Failure::NoSuchUser(name),
            denied @ (Denied::NotThere | Denied::Invalid(_)) => {
                Failure::Invalid(denied.to_string())
            }
        }
    }
}

fn parse(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|_| {
        let shown = metadata::erlang::binary_term(text.as_bytes());
        Failure::Invalid(format!(
            "Could not parse JSON document: {{error,{{failed_to_decode_json,{shown}}}}}"
        ))
    })
}

fn kind(operator: bool) -> PolicyKind {
    match operator {
        true => PolicyKind::Operator,
        false => PolicyKind::User,
    }
}

fn policy_row(vhost: &Vhost, policy: &Policy) -> Vec<Cell> {
    vec![
        (*vhost.name).into(),
        (*policy.name).into(),
        policy.pattern.as_str().into(),
        policy.apply_to.name().into(),
        text(policy.definition.clone()),
        Cell::Text(policy.priority.to_string()),
    ]
}

impl Broker {
    /// The policies whose pattern fits an object that is there, the one that holds for it first.
    fn policies_that_match(
        &self,
        vhost: &str,
        object_type: &str,
        name: &str,
    ) -> Result<Answer, Failure> {
        let vhost = self.vhost(vhost)?;
        let target = match object_type {
            "exchange" => {
                let found = vhost.read(|topology| topology.router.exchange(name).is_some());
                found
                    .then_some(Target::Exchange)
                    .ok_or_else(|| Failure::NoSuchExchange(name.to_owned()))?
            }
            "queue" => {
                let found = vhost.find_queue(name);
                let found = found.map_err(|_| Failure::NoSuchQueue(name.to_owned()))?;
                found.policy_target()
            }
            other => {
                let text = format!("object type must be queue or exchange, not {other}");
                return Err(Failure::Invalid(text));
            }
        };
        let policies = vhost.policies(PolicyKind::User);
        let matching = policies.iter().filter(|p| p.matches(target, name));
        Ok(rows(matching.map(|p| policy_row(&vhost, p))))
    }
}

fn text(value: impl Into<Value>) -> Cell {
    Cell::Text(value.into().to_string())
}

impl Broker {
    fn act(&self) -> Act<'static> {
        Act {
            by: CLI_USER,
            now_ms: self.clock.now_ms(),
        }
    }

    /// Carries out a request of this module's.
    pub(super) fn answer_parameter(&self, request: ParameterRequest) -> Result<Answer, Failure> {
        use ParameterRequest as P;
        let (node, act) = (&self.node, self.act());
        match request {
            P::SetPolicy { .. }
            | P::ClearPolicy { .. }
            | P::SetParameter { .. }
            | P::ClearParameter { .. }
            | P::SetGlobalParameter { .. }
            | P::ClearGlobalParameter { .. }
            | P::SetVhostLimits { .. }
            | P::ClearVhostLimits { .. }
            | P::SetUserLimits { .. }
            | P::ClearUserLimits { .. } => self.change_parameter(request).map(Answer::done),
            P::ListPolicies { vhost, operator } => {
                let vhost = self.vhost(&vhost)?;
                let policies = vhost.policies(kind(operator));
                // Those of the lowest priority first, as in RabbitMQ.
                Ok(rows(policies.iter().rev().map(|p| policy_row(&vhost, p))))
            }
            P::ListPoliciesThatMatch {
                vhost,
                object_type,
                name,
            } => self.policies_that_match(&vhost, &object_type, &name),
            P::ListParameters { vhost } => {
                self.vhost(&vhost)?;
                let parameters = node.parameters(Some(&vhost)).into_iter();
                let row = |(_, p): (_, metadata::parameter::Parameter)| {
                    vec![(*p.component).into(), (*p.name).into(), text(p.value)]
                };
                Ok(rows(parameters.map(row)))
            }
            P::ListGlobalParameters => {
                let parameters = node.global_parameters().into_iter();
                Ok(rows(
                    parameters.map(|(name, value)| vec![(*name).into(), text(value)]),
                ))
            }
            P::ListVhostLimits { .. } | P::ListUserLimits { .. } => self.list_limits(request),
            P::SetPermissionsGlobally {
                user,
                configure,
                write,
                read,
            } => self.set_permissions_globally(&user, [&configure, &write, &read]),
            P::UpdateVhostMetadata { .. } => self.update_vhost(request),
            P::SetClusterName { name } => {
                let ticket = node.set_global_parameter(act, "cluster_name", json!(name));
                Ok(Answer::done(ticket))
            }
            P::ExportDefinitions => Ok(Answer::now(Response::Json(node.export_definitions()))),
            P::ImportDefinitions { document } => self.import(&document),
        }
    }

    fn list_limits(&self, request: ParameterRequest) -> Result<Answer, Failure> {
        use ParameterRequest as P;
        let node = &self.node;
        match request {
            P::ListVhostLimits { vhost: Some(vhost) } => {
                let limits = self.vhost(&vhost)?.limits_as_set();
                Ok(limits_text(limits))
            }
            P::ListVhostLimits { vhost: None } => {
                let limited = node.vhosts().into_iter().filter_map(|vhost| {
                    let limits = vhost.limits_as_set();
                    (!limits.is_empty()).then(|| vec![(*vhost.name).into(), text(limits)])
                });
                Ok(rows(limited))
            }
            P::ListUserLimits { user: Some(user) } => match node.identities.limits_as_set(&user) {
                Some(limits) => Ok(limits_text(limits)),
                None => Err(Failure::NoSuchUser(user)),
            },
            P::ListUserLimits { user: None } => {
                let limited = node.identities.users_with_limits().into_iter();
                Ok(rows(
                    limited.map(|(name, limits)| vec![(*name).into(), text(limits)]),
                ))
            }
            other => Err(Failure::Invalid(format!("{other:?} lists no limits"))),
        }
    }

    fn change_parameter(&self, request: ParameterRequest) -> Result<Ticket, Failure> {
        use ParameterRequest as P;
        let (node, act) = (&self.node, self.act());
        Ok(match request {
            P::SetPolicy {
                vhost,
                operator,
                name,
                pattern,
                definition,
                priority,
                apply_to,
            } => {
                self.vhost(&vhost)?;
                let value = json!({
                    "pattern": pattern,
                    "definition": parse(&definition)?,
                    "priority": priority,
                    "apply-to": apply_to,
                });
                node.set_policy(act, &vhost, kind(operator), &name, &value)?
            }
            P::ClearPolicy {
                vhost,
                operator,
                name,
            } => node.clear_policy(act, &vhost, kind(operator), &name)?,
            P::SetParameter {
                vhost,
                component,
                name,
                value,
            } => node.set_parameter(act, &vhost, &component, &name, &parse(&value)?)?,
            P::ClearParameter {
                vhost,
                component,
                name,
            } => node.clear_parameter(act, &vhost, &component, &name)?,
            P::SetGlobalParameter { name, value } => {
                node.set_global_parameter(act, &name, parse(&value)?)
            }
            P::ClearGlobalParameter { name } => node.clear_global_parameter(act, &name)?,
            P::SetVhostLimits { vhost, definition } => {
                node.set_vhost_limits(act, &vhost, &parse(&definition)?)?
            }
            P::ClearVhostLimits { vhost } => {
                node.clear_parameter(act, &vhost, VHOST_LIMITS, VHOST_LIMITS_NAME)?
            }
            P::SetUserLimits { user, definition } => {
                node.set_user_limits(act, &user, &parse(&definition)?)?
            }
            P::ClearUserLimits { user, name } => {
                node.clear_user_limits(act, &user, name.as_deref())?
            }
            other => return Err(Failure::Invalid(format!("{other:?} changes nothing"))),
        })
    }

    fn set_permissions_globally(
        &self,
        user: &str,
        [configure, write, read]: [&str; 3],
    ) -> Result<Answer, Failure> {
        let permissions = Permissions::parse(configure, write, read);
        let permissions = permissions.map_err(|error| Failure::Invalid(error.to_string()))?;
        let mut ticket = Ticket::NONE;
        for vhost in self.node.vhosts() {
            let identities = &self.node.identities;
            ticket = identities.set_permissions(user, &vhost.name, permissions.clone())?;
        }
        Ok(Answer::done(ticket))
    }

    fn update_vhost(&self, request: ParameterRequest) -> Result<Answer, Failure> {
        let ParameterRequest::UpdateVhostMetadata {
            vhost,
            description,
            tags,
            default_queue_type,
            protected_from_deletion,
        } = request
        else {
            return Err(Failure::Invalid(format!("{request:?} updates no vhost")));
        };
        if let Some(kind) = &default_queue_type {
            super::topology::check_queue_type(kind)?;
        }
        let changed = self.node.change_vhost(&vhost, |spec| {
            spec.description = description.unwrap_or(std::mem::take(&mut spec.description));
            spec.tags = tags.unwrap_or(std::mem::take(&mut spec.tags));
            spec.default_queue_type = default_queue_type.or(spec.default_queue_type.take());
            spec.protected_from_deletion =
                protected_from_deletion.unwrap_or(spec.protected_from_deletion);
        });
        let ticket = changed.ok_or(Failure::NoSuchVhost(vhost))?;
        Ok(Answer::done(ticket))
    }

    fn import(&self, document: &Value) -> Result<Answer, Failure> {
        let definitions = Definitions::parse(document, None);
        let definitions = definitions.map_err(|error| Failure::Invalid(error.to_string()))?;
        let imported = self.node.import_definitions(self.act(), definitions);
        Ok(Answer {
            response: Response::Imported {
                warnings: imported.warnings,
                refused: imported.refused,
            },
            ticket: imported.ticket,
        })
    }
}

fn rows(rows: impl Iterator<Item = Vec<Cell>>) -> Answer {
    Answer::now(Response::Rows(rows.collect()))
}

fn limits_text(limits: Map<String, Value>) -> Answer {
    Answer::now(Response::Text(Value::from(limits).to_string()))
}
