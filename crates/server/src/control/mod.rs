//! The control socket: how `leveret ctl` reaches a running broker.
//!
//! A socket file in the data directory takes requests (`protocol`), one a line; whoever may read the
//! directory's secrets may connect, and nobody else. `listener` moves the lines, `answer` finds what each
//! asks for: changes of users in `identities`, policies, limits and definitions in `parameters`, of all else in
//! `topology`, lists in `lists`, the node as a whole in `node`. Deliberately
//! absent: how anything looks on a terminal, which is the business of `leveret ctl`.

mod answer;
mod audit;
mod diagnostics;
mod field_cells;
mod gate;
mod identities;
mod listener;
mod lists;
mod node;
pub mod parameters;
mod place;
pub mod protocol;
#[cfg(test)]
mod tests;
mod topology;

pub use answer::{Broker, Certificates};
pub use gate::Gate;
pub use listener::Listener;
pub use node::Environment;
pub use place::connect;
