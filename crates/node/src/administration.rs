//! The doors for whoever administers the broker: policies, parameters and limits, set, cleared and listed.
//!
//! Each change says by whom, holds in memory when the call returns, is on disk when its ticket is durable, and is
//! published as an event. What is refused is refused in RabbitMQ's words. Deliberately absent: who may do what,
//! which is the caller's business; users and permissions, which are [`Identities`](crate::identities::Identities)'.

use std::sync::Arc;

use metadata::limit::VhostLimits;
use metadata::parameter::{self, CLUSTER_NAME, Parameter, VHOST_LIMITS, VHOST_LIMITS_NAME};
use metadata::policy::{Policy, PolicyKind};
use metadata::topology::Name;
use metadata::validation::ValidationError;
use serde_json::{Map, Value};

use crate::catalog::{Change, Ticket};
use crate::events::NodeEvent;
use crate::node::Node;
use crate::vhost::Vhost;

/// Why a change was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no such vhost.
    #[error("vhost '{0}' not found")]
    NoSuchVhost(String),
    /// There is no such user.
    #[error("User \"{0}\" does not exist")]
    NoSuchUser(String),
    /// There is nothing of that name to clear.
    #[error("Parameter does not exist")]
    NotThere,
    /// What was asked for makes no sense; RabbitMQ's text.
    #[error("{0}")]
    Invalid(String),
}

impl From<ValidationError> for Denied {
    fn from(error: ValidationError) -> Self {
        Denied::Invalid(error.to_string())
    }
}

/// Who changes something, and when.
#[derive(Debug, Clone, Copy)]
pub struct Act<'a> {
    /// The user's name.
    pub by: &'a str,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// Policies.
impl Node {
    /// Sets a policy from its value as a runtime parameter: `pattern`, `definition`, `priority`, `apply-to`.
    ///
    /// # Errors
    /// If there is no such vhost or the policy is wrong.
    pub fn set_policy(
        &self,
        act: Act<'_>,
        vhost: &str,
        kind: PolicyKind,
        name: &str,
        value: &Value,
    ) -> Result<Ticket, Denied> {
        let found = self.known_vhost(vhost)?;
        let policy = Policy::parse(kind, name, value)?;
        let refused = |_| Denied::NoSuchVhost(vhost.to_owned());
        let ticket = found
            .set_policy(act.now_ms, kind, policy)
            .map_err(refused)?;
        // RabbitMQ calls both kinds the same here, and tells them apart when they are cleared.
        self.tell(act, "policy_set", Some(vhost), name, value);
        Ok(ticket)
    }

    /// Takes a policy away.
    ///
    /// # Errors
    /// If there is no such vhost or policy.
    pub fn clear_policy(
        &self,
        act: Act<'_>,
        vhost: &str,
        kind: PolicyKind,
        name: &str,
    ) -> Result<Ticket, Denied> {
        let found = self.known_vhost(vhost)?;
        let cleared = found.clear_policy(act.now_ms, kind, name);
        let ticket = cleared.ok_or(Denied::NotThere)?;
        let event = match kind {
            PolicyKind::User => "policy_cleared",
            PolicyKind::Operator => "operator_policy_cleared",
        };
        self.tell(act, event, Some(vhost), name, &Value::Null);
        Ok(ticket)
    }

    /// The policies of a kind in one vhost or in all, each with its vhost.
    pub fn policies(&self, kind: PolicyKind, vhost: Option<&str>) -> Vec<(Name, Arc<Policy>)> {
        let vhosts = self.vhosts().into_iter();
        let chosen = vhosts.filter(|found| vhost.is_none_or(|name| *found.name == *name));
        chosen
            .flat_map(|found| {
                let policies = found.policies(kind).into_iter();
                policies.map(move |policy| (Arc::clone(&found.name), policy))
            })
            .collect()
    }
}

/// Runtime parameters.
impl Node {
    /// Sets a runtime parameter. Policies have their own door, as in RabbitMQ.
    ///
    /// # Errors
    /// If there is no such vhost or component, or the component refuses the value.
    pub fn set_parameter(
        &self,
        act: Act<'_>,
        vhost: &str,
        component: &str,
        name: &str,
        value: &Value,
    ) -> Result<Ticket, Denied> {
        match component {
            "policy" => Err(Denied::Invalid(
                "policies may not be set using this method".to_owned(),
            )),
            "operator_policy" => self.set_policy(act, vhost, PolicyKind::Operator, name, value),
            VHOST_LIMITS if name == VHOST_LIMITS_NAME => self.set_vhost_limits(act, vhost, value),
            VHOST_LIMITS => {
                // RabbitMQ keeps it, fails, and counts on the name from then on.
                let text = format!("{VHOST_LIMITS} are kept under the name '{VHOST_LIMITS_NAME}'");
                Err(ValidationError::new(text).into())
            }
            component => {
                self.known_vhost(vhost)?;
                Err(parameter::component_not_found(component).into())
            }
        }
    }

    /// Clears a runtime parameter.
    ///
    /// # Errors
    /// If there is no such vhost or parameter.
    pub fn clear_parameter(
        &self,
        act: Act<'_>,
        vhost: &str,
        component: &str,
        name: &str,
    ) -> Result<Ticket, Denied> {
        let found = self.known_vhost(vhost)?;
        match component {
            "policy" => Err(Denied::Invalid(
                "policies may not be cleared using this method".to_owned(),
            )),
            "operator_policy" => self.clear_policy(act, vhost, PolicyKind::Operator, name),
            VHOST_LIMITS if name == VHOST_LIMITS_NAME => {
                if found.limits_as_set().is_empty() {
                    return Err(Denied::NotThere);
                }
                self.clear_vhost_limits(act, vhost)
            }
            component => {
                let cleared = found.clear_foreign_parameter(component, name);
                let ticket = cleared.ok_or(Denied::NotThere)?;
                self.tell(act, "parameter_cleared", Some(vhost), name, &Value::Null);
                Ok(ticket)
            }
        }
    }

    /// The runtime parameters of one vhost or of all, each with its vhost: all but policies, as in RabbitMQ.
    pub fn parameters(&self, vhost: Option<&str>) -> Vec<(Name, Parameter)> {
        let mut parameters = Vec::new();
        for found in self.vhosts() {
            if vhost.is_some_and(|name| *found.name != *name) {
                continue;
            }
            let mut add = |parameter| parameters.push((Arc::clone(&found.name), parameter));
            for policy in found.policies(PolicyKind::Operator) {
                add(Parameter {
                    component: PolicyKind::Operator.component().into(),
                    name: Arc::clone(&policy.name),
                    value: policy.value(),
                });
            }
            found.foreign_parameters().into_iter().for_each(&mut add);
            let limits = found.limits_as_set();
            if !limits.is_empty() {
                add(Parameter {
                    component: VHOST_LIMITS.into(),
                    name: VHOST_LIMITS_NAME.into(),
                    value: limits.into(),
                });
            }
        }
        parameters
    }

    /// Sets a parameter of the whole broker. Any value is fine, as in RabbitMQ.
    pub fn set_global_parameter(&self, act: Act<'_>, name: &str, value: Value) -> Ticket {
        self.tell(act, "parameter_set", None, name, &value);
        let name = Name::from(name);
        let mut parameters = self.global_parameters.write();
        parameters.insert(Arc::clone(&name), value.clone());
        self.catalog
            .write(Change::PutGlobalParameter { name, value })
    }

    /// Clears a parameter of the whole broker.
    ///
    /// # Errors
    /// If it is not there.
    pub fn clear_global_parameter(&self, act: Act<'_>, name: &str) -> Result<Ticket, Denied> {
        let ticket = {
            let mut parameters = self.global_parameters.write();
            let (name, _) = parameters.remove_entry(name).ok_or(Denied::NotThere)?;
            self.catalog.write(Change::DeleteGlobalParameter { name })
        };
        self.tell(act, "parameter_cleared", None, name, &Value::Null);
        Ok(ticket)
    }

    /// A parameter of the whole broker.
    pub fn global_parameter(&self, name: &str) -> Option<Value> {
        self.global_parameters.read().get(name).cloned()
    }

    /// The parameters of the whole broker, by name.
    pub fn global_parameters(&self) -> Vec<(Name, Value)> {
        let parameters = self.global_parameters.read();
        let listed = parameters.iter();
        listed.map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// The cluster's name: the one that was set, or else the configured one.
    pub fn cluster_name(&self) -> String {
        match self.global_parameter(CLUSTER_NAME) {
            Some(Value::String(name)) => name,
            _ => self.settings.cluster_name.clone(),
        }
    }
}

/// Limits.
impl Node {
    /// Sets limits of a vhost in place of those it had: `{"max-queues": 10}`.
    ///
    /// # Errors
    /// If there is no such vhost or limit.
    pub fn set_vhost_limits(
        &self,
        act: Act<'_>,
        vhost: &str,
        value: &Value,
    ) -> Result<Ticket, Denied> {
        let found = self.known_vhost(vhost)?;
        VhostLimits::parse(value)?;
        let new = value.as_object().cloned().unwrap_or_default();
        let ticket = found.change_limits(|limits| *limits = new)?;
        self.tell(
            act,
            "vhost_limits_set",
            Some(vhost),
            VHOST_LIMITS_NAME,
            value,
        );
        Ok(ticket)
    }

    /// Sets one limit of a vhost.
    ///
    /// # Errors
    /// If there is no such vhost or limit.
    pub fn set_vhost_limit(
        &self,
        act: Act<'_>,
        vhost: &str,
        name: &str,
        value: Value,
    ) -> Result<Ticket, Denied> {
        self.change_vhost_limits(act, vhost, |limits| {
            limits.insert(name.to_owned(), value);
        })
    }

    /// Takes one limit of a vhost away; one that is not set is fine.
    ///
    /// # Errors
    /// If there is no such vhost.
    pub fn clear_vhost_limit(
        &self,
        act: Act<'_>,
        vhost: &str,
        name: &str,
    ) -> Result<Ticket, Denied> {
        self.change_vhost_limits(act, vhost, |limits| {
            limits.remove(name);
        })
    }

    fn change_vhost_limits(
        &self,
        act: Act<'_>,
        vhost: &str,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<Ticket, Denied> {
        let found = self.known_vhost(vhost)?;
        let ticket = found.change_limits(change)?;
        let limits = found.limits_as_set().into();
        self.tell(
            act,
            "vhost_limits_set",
            Some(vhost),
            VHOST_LIMITS_NAME,
            &limits,
        );
        Ok(ticket)
    }

    /// Takes all limits of a vhost away.
    ///
    /// # Errors
    /// If there is no such vhost.
    pub fn clear_vhost_limits(&self, act: Act<'_>, vhost: &str) -> Result<Ticket, Denied> {
        let ticket = self.known_vhost(vhost)?.clear_limits();
        let null = Value::Null;
        self.tell(
            act,
            "vhost_limits_cleared",
            Some(vhost),
            VHOST_LIMITS_NAME,
            &null,
        );
        Ok(ticket)
    }

    /// Adds to a user's limits: `{"max-channels": 10}`.
    ///
    /// # Errors
    /// If there is no such user or limit. The text has no heading, as in RabbitMQ.
    pub fn set_user_limits(
        &self,
        act: Act<'_>,
        user: &str,
        value: &Value,
    ) -> Result<Ticket, Denied> {
        let new = value.as_object().cloned().unwrap_or_default();
        metadata::limit::UserLimits::parse(value).map_err(without_heading)?;
        self.change_user_limits(user, |limits| limits.extend(new))
            .inspect(|_| self.tell(act, "user_limits_set", None, user, value))
    }

    /// Takes away one of a user's limits, or all.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn clear_user_limits(
        &self,
        act: Act<'_>,
        user: &str,
        name: Option<&str>,
    ) -> Result<Ticket, Denied> {
        let clear = |limits: &mut Map<String, Value>| match name {
            Some(name) => drop(limits.remove(name)),
            None => limits.clear(),
        };
        self.change_user_limits(user, clear)
            .inspect(|_| self.tell(act, "user_limits_cleared", None, user, &Value::Null))
    }

    fn change_user_limits(
        &self,
        user: &str,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<Ticket, Denied> {
        let changed = self.identities.change_limits(user, change);
        changed
            .map_err(without_heading)?
            .ok_or_else(|| Denied::NoSuchUser(user.to_owned()))
    }

    /// The vhost of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn known_vhost(&self, name: &str) -> Result<Arc<Vhost>, Denied> {
        let found = self.vhost(name);
        found.ok_or_else(|| Denied::NoSuchVhost(name.to_owned()))
    }

    fn tell(
        &self,
        act: Act<'_>,
        event: &'static str,
        vhost: Option<&str>,
        name: &str,
        value: &Value,
    ) {
        let mut properties = Map::new();
        properties.insert("name".into(), name.into());
        if let Some(vhost) = vhost {
            properties.insert("vhost".into(), vhost.into());
        }
        match value {
            Value::Null => {}
            value => drop(properties.insert("value".into(), value.clone())),
        }
        self.events.publish(NodeEvent {
            name: event,
            by: act.by.into(),
            at_ms: Some(act.now_ms),
            properties,
        });
    }
}

fn without_heading(error: ValidationError) -> Denied {
    Denied::Invalid(error.lines().join("\n"))
}

#[cfg(test)]
mod tests;
