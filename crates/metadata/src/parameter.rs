//! Runtime parameters: what operators set while the broker runs, by component, vhost and name.
//!
//! Policies, operator policies and vhost limits are parameters too; their values are read by their own modules.
//! A component that this broker does not have is refused when it is set, but an import keeps it
//! ([`Parameter::is_foreign`]), so that an export gives back what was imported.

use serde_json::Value;

use crate::topology::Name;

/// The component that keeps a vhost's limits, under the name [`VHOST_LIMITS_NAME`].
pub const VHOST_LIMITS: &str = "vhost-limits";
/// See [`VHOST_LIMITS`].
pub const VHOST_LIMITS_NAME: &str = "limits";
/// The global parameter with the cluster's name.
pub const CLUSTER_NAME: &str = "cluster_name";

/// A runtime parameter of a vhost.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// What it belongs to: `policy`, `vhost-limits`, `shovel`.
    pub component: Name,
    /// Its name, unique in component and vhost.
    pub name: Name,
    /// Its value.
    pub value: Value,
}

impl Parameter {
    /// Whether it belongs to no component of this broker.
    pub fn is_foreign(component: &str) -> bool {
        !["policy", "operator_policy", VHOST_LIMITS].contains(&component)
    }
}

/// What RabbitMQ says of a component that it does not have.
pub fn component_not_found(component: &str) -> crate::validation::ValidationError {
    crate::validation::ValidationError::new(format!("component {component} not found"))
}
