//! The table of all routes: paths, methods, who may, and what answers.
//!
//! Each resource keeps its own rows beside its handlers. The router, the `Allow` headers and the OpenAPI
//! description are made from these rows, so that none of them can forget one.

use crate::access::Guard;
use crate::answer::Answer;
use crate::call::Call;
use crate::failure::Failure;

/// What answers a call.
pub(crate) type Handler = fn(&Call<'_>) -> Result<Answer, Failure>;

/// A path and what can be done there. A segment in braces is a parameter, named as handlers ask for it.
pub(crate) struct Route {
    pub(crate) path: &'static str,
    pub(crate) operations: &'static [Operation],
}

/// One method of a route.
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) guard: Guard,
    pub(crate) handler: Handler,
    /// One line for the description.
    pub(crate) summary: &'static str,
    /// The fields of the body, where it is an object with fields that are known.
    pub(crate) body: &'static [Field],
    /// Whether it lists: then it takes pages, sorting and columns.
    pub(crate) lists: bool,
}

/// A field of a request's body.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// JSON Schema's word for its type; empty where it may be any.
    pub(crate) kind: &'static str,
    pub(crate) required: bool,
}

pub(crate) const fn route(path: &'static str, operations: &'static [Operation]) -> Route {
    Route { path, operations }
}

const fn operation(
    method: &'static str,
    guard: Guard,
    handler: Handler,
    summary: &'static str,
) -> Operation {
    Operation {
        method,
        guard,
        handler,
        summary,
        body: &[],
        lists: false,
    }
}

pub(crate) const fn get(guard: Guard, handler: Handler, summary: &'static str) -> Operation {
    operation("GET", guard, handler, summary)
}

/// A `GET` that lists.
pub(crate) const fn list(guard: Guard, handler: Handler, summary: &'static str) -> Operation {
    let mut operation = operation("GET", guard, handler, summary);
    operation.lists = true;
    operation
}

pub(crate) const fn put(guard: Guard, handler: Handler, summary: &'static str) -> Operation {
    operation("PUT", guard, handler, summary)
}

pub(crate) const fn post(guard: Guard, handler: Handler, summary: &'static str) -> Operation {
    operation("POST", guard, handler, summary)
}

pub(crate) const fn delete(guard: Guard, handler: Handler, summary: &'static str) -> Operation {
    operation("DELETE", guard, handler, summary)
}

impl Operation {
    pub(crate) const fn taking(mut self, body: &'static [Field]) -> Self {
        self.body = body;
        self
    }
}

pub(crate) const fn required(name: &'static str, kind: &'static str) -> Field {
    Field {
        name,
        kind,
        required: true,
    }
}

pub(crate) const fn optional(name: &'static str, kind: &'static str) -> Field {
    Field {
        name,
        kind,
        required: false,
    }
}

/// The rows of each resource.
const TABLES: &[&[Route]] = &[
    crate::overview::ROUTES,
    crate::events::ROUTES,
    crate::nodes::ROUTES,
    crate::vhosts::ROUTES,
    crate::users::ROUTES,
    crate::permissions::ROUTES,
    crate::exchanges::ROUTES,
    crate::queues::ROUTES,
    crate::queue_actions::ROUTES,
    crate::messages::ROUTES,
    crate::peek::ROUTES,
    crate::redrive::ROUTES,
    crate::explain::ROUTES,
    crate::bindings::ROUTES,
    crate::connections::ROUTES,
    crate::channels::ROUTES,
    crate::consumers::ROUTES,
    crate::policies::ROUTES,
    crate::parameters::ROUTES,
    crate::limits::ROUTES,
    crate::definitions::ROUTES,
    crate::health::ROUTES,
    crate::flags::ROUTES,
    crate::openapi::ROUTES,
];

/// Every route.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    TABLES.iter().copied().flatten()
}

impl Route {
    /// The `Allow` header: RabbitMQ's order.
    pub(crate) fn allow(&self) -> String {
        let has = |method: &str| self.operations.iter().any(|o| o.method == method);
        let mut words = Vec::new();
        if has("GET") {
            words.extend(["HEAD", "GET"]);
        }
        words.extend(
            ["PUT", "POST", "DELETE"]
                .into_iter()
                .filter(|method| has(method)),
        );
        words.push("OPTIONS");
        words.join(", ")
    }

    /// What a method does here; `HEAD` does what `GET` does.
    pub(crate) fn find(&self, method: &str) -> Option<&'static Operation> {
        let method = if method == "HEAD" { "GET" } else { method };
        self.operations.iter().find(|o| o.method == method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_route_stands_twice_and_guards_have_their_vhost() {
        let mut seen = std::collections::BTreeSet::new();
        for route in all() {
            assert!(seen.insert(route.path), "{} stands twice", route.path);
            for operation in route.operations {
                let needs_vhost = matches!(
                    operation.guard,
                    Guard::Vhost | Guard::VhostOrMonitoring | Guard::VhostPolicymaker
                );
                assert!(
                    !needs_vhost || route.path.contains("{vhost}"),
                    "{}",
                    route.path
                );
                assert!(!operation.summary.is_empty(), "{}", route.path);
            }
        }
        assert!(seen.len() > 60);
    }
}
