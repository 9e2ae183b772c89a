//! Limits and other parameters of a vhost that have nothing to do with its topology.

use std::collections::BTreeMap;
use std::sync::Arc;

use metadata::limit::VhostLimits;
use metadata::parameter::{Parameter, VHOST_LIMITS, VHOST_LIMITS_NAME};
use metadata::topology::Name;
use metadata::validation::ValidationError;
use serde_json::{Map, Value};

use super::Vhost;
use crate::catalog::{Change, Ticket};
use crate::refusal::Refusal;
use crate::topology::Topology;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// As they were set, those below zero among them.
    limits: Map<String, Value>,
    read: VhostLimits,
    /// Of components that this broker does not have, by component and name: kept so that an export has them.
    foreign: BTreeMap<(Name, Name), Value>,
}

impl Vhost {
    /// Its limits.
    pub fn limits(&self) -> VhostLimits {
        self.parameters.read().read
    }

    /// Its limits as they were set, by RabbitMQ's names.
    pub fn limits_as_set(&self) -> Map<String, Value> {
        self.parameters.read().limits.clone()
    }

    /// Changes its limits; what is there beyond a new limit stays.
    ///
    /// # Errors
    /// If the changed ones are none, in RabbitMQ's words.
    pub fn change_limits(
        &self,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<Ticket, ValidationError> {
        let mut parameters = self.parameters.write();
        let mut limits = parameters.limits.clone();
        change(&mut limits);
        let value = Value::from(limits.clone());
        parameters.read = VhostLimits::parse(&value)?;
        parameters.limits = limits;
        Ok(self.write_parameter(VHOST_LIMITS.into(), VHOST_LIMITS_NAME.into(), value))
    }

    /// Takes all its limits away.
    pub fn clear_limits(&self) -> Ticket {
        let mut parameters = self.parameters.write();
        parameters.limits.clear();
        parameters.read = VhostLimits::default();
        self.write(Change::DeleteParameter {
            vhost: Arc::clone(&self.name),
            component: VHOST_LIMITS.into(),
            name: VHOST_LIMITS_NAME.into(),
        })
    }

    /// Parameters of components that this broker does not have, which an import brought.
    pub fn foreign_parameters(&self) -> Vec<Parameter> {
        let parameters = self.parameters.read();
        let foreign = parameters.foreign.iter();
        foreign
            .map(|((component, name), value)| Parameter {
                component: Arc::clone(component),
                name: Arc::clone(name),
                value: value.clone(),
            })
            .collect()
    }

    /// Keeps a parameter of a component that this broker does not have.
    pub fn keep_foreign_parameter(&self, parameter: Parameter) -> Ticket {
        let Parameter {
            component,
            name,
            value,
        } = parameter;
        let mut parameters = self.parameters.write();
        let key = (Arc::clone(&component), Arc::clone(&name));
        parameters.foreign.insert(key, value.clone());
        self.write_parameter(component, name, value)
    }

    /// Forgets such a parameter; `None` if it is not there.
    pub fn clear_foreign_parameter(&self, component: &str, name: &str) -> Option<Ticket> {
        let key = (component.into(), name.into());
        let mut parameters = self.parameters.write();
        parameters.foreign.remove(&key)?;
        let (component, name) = key;
        Some(self.write(Change::DeleteParameter {
            vhost: Arc::clone(&self.name),
            component,
            name,
        }))
    }

    /// Puts back limits that the catalog kept.
    pub(crate) fn restore_limits(&self, value: &Value) -> Result<(), ValidationError> {
        let mut parameters = self.parameters.write();
        parameters.read = VhostLimits::parse(value)?;
        parameters.limits = value.as_object().cloned().unwrap_or_default();
        Ok(())
    }

    /// Puts back a foreign parameter that the catalog kept.
    pub(crate) fn restore_foreign_parameter(&self, parameter: Parameter) {
        let key = (parameter.component, parameter.name);
        self.parameters.write().foreign.insert(key, parameter.value);
    }

    /// Refuses one more queue if there are as many as there may be.
    pub(super) fn check_queue_limit(
        &self,
        topology: &Topology,
        queue: &str,
    ) -> Result<(), Refusal> {
        let is_reached = |max: &u64| *max <= topology.queue_len() as u64;
        match self.limits().queues_max.filter(is_reached) {
            None => Ok(()),
            Some(max) => Err(Refusal::precondition(format!(
                "cannot declare queue '{queue}': queue limit in vhost '{}' ({max}) is reached",
                self.name
            ))),
        }
    }

    fn write_parameter(&self, component: Name, name: Name, value: Value) -> Ticket {
        self.write(Change::PutParameter {
            vhost: Arc::clone(&self.name),
            parameter: Parameter {
                component,
                name,
                value,
            },
        })
    }
}
