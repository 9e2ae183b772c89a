//! Verbs about what is set while the broker runs: policies, parameters, limits, metadata of vhosts.

use server::control::parameters::ParameterRequest;
use server::control::protocol::Request;

use super::{Act, PLAIN, Switch, Verb, fixed};
use crate::ctl::line::Line;

const POLICIES: &[&str] = &[
    "vhost",
    "name",
    "pattern",
    "apply-to",
    "definition",
    "priority",
];
const PRIORITY: Switch = Switch::value("priority");
const APPLY_TO: Switch = Switch::value("apply-to");
const GLOBAL: Switch = Switch::flag("global");
const USER: Switch = Switch::value("user");

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "set_policy",
        usage: "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>",
        arguments: (3, 3),
        switches: &[PRIORITY, APPLY_TO],
        check: |line| priority(line).map(drop),
        banner: |line| set_policy_banner(line, "policy"),
        act: Act::Ask(|line| set_policy(line, false)),
        ..PLAIN
    },
    Verb {
        name: "set_operator_policy",
        usage: "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>",
        arguments: (3, 3),
        switches: &[PRIORITY, APPLY_TO],
        check: |line| priority(line).map(drop),
        banner: |line| set_policy_banner(line, "operator policy override"),
        act: Act::Ask(|line| set_policy(line, true)),
        ..PLAIN
    },
    Verb {
        name: "clear_policy",
        usage: "[--vhost <vhost>] <name>",
        arguments: (1, 1),
        banner: |line| {
            format!(
                "Clearing policy \"{}\" on vhost \"{}\" ...",
                line.argument(0),
                line.vhost
            )
        },
        act: Act::Ask(|line| clear_policy(line, false)),
        ..PLAIN
    },
    Verb {
        name: "clear_operator_policy",
        usage: "[--vhost <vhost>] <name>",
        arguments: (1, 1),
        banner: |line| {
            let (name, vhost) = (line.argument(0), &line.vhost);
            format!("Clearing operator policy \"{name}\" on vhost \"{vhost}\" ...")
        },
        act: Act::Ask(|line| clear_policy(line, true)),
        ..PLAIN
    },
    Verb {
        name: "list_policies",
        usage: "[--vhost <vhost>] [--no-table-headers]",
        columns: fixed(POLICIES, true),
        banner: |line| format!("Listing policies for vhost \"{}\" ...", line.vhost),
        act: Act::Ask(|line| list_policies(line, false)),
        ..PLAIN
    },
    Verb {
        name: "list_operator_policies",
        usage: "[--vhost <vhost>] [--no-table-headers]",
        columns: fixed(POLICIES, true),
        banner: |line| {
            format!(
                "Listing operator policy overrides for vhost \"{}\" ...",
                line.vhost
            )
        },
        act: Act::Ask(|line| list_policies(line, true)),
        ..PLAIN
    },
    Verb {
        name: "set_parameter",
        usage: "[--vhost <vhost>] <component_name> <name> <value>",
        arguments: (3, 3),
        banner: |line| {
            let [component, name, value] = [0, 1, 2].map(|at| line.argument(at));
            format!(
                "Setting runtime parameter \"{name}\" for component \"{component}\" to \"{value}\" in vhost \"{}\" ...",
                line.vhost
            )
        },
        act: Act::Ask(|line| {
            Request::Parameter(ParameterRequest::SetParameter {
                vhost: line.vhost.clone(),
                component: line.argument(0),
                name: line.argument(1),
                value: line.argument(2),
            })
        }),
        ..PLAIN
    },
    Verb {
        name: "clear_parameter",
        usage: "[--vhost <vhost>] <component_name> <name>",
        arguments: (2, 2),
        banner: |line| {
            let [component, name] = [0, 1].map(|at| line.argument(at));
            format!(
                "Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{}\" ...",
                line.vhost
            )
        },
        act: Act::Ask(|line| {
            Request::Parameter(ParameterRequest::ClearParameter {
                vhost: line.vhost.clone(),
                component: line.argument(0),
                name: line.argument(1),
            })
        }),
        ..PLAIN
    },
    Verb {
        name: "list_parameters",
        usage: "[--vhost <vhost>] [--no-table-headers]",
        columns: fixed(&["component", "name", "value"], true),
        banner: |line| {
            format!(
                "Listing runtime parameters for vhost \"{}\" ...",
                line.vhost
            )
        },
        act: Act::Ask(|line| {
            let vhost = line.vhost.clone();
            Request::Parameter(ParameterRequest::ListParameters { vhost })
        }),
        ..PLAIN
    },
    Verb {
        name: "set_global_parameter",
        usage: "<name> <value>",
        arguments: (2, 2),
        banner: |line| {
            let (name, value) = (line.argument(0), line.argument(1));
            format!("Setting global runtime parameter \"{name}\" to \"{value}\" ...")
        },
        act: Act::Ask(|line| {
            Request::Parameter(ParameterRequest::SetGlobalParameter {
                name: line.argument(0),
                value: line.argument(1),
            })
        }),
        ..PLAIN
    },
    Verb {
        name: "clear_global_parameter",
        usage: "<name>",
        arguments: (1, 1),
        banner: |line| {
            format!(
                "Clearing global runtime parameter \"{}\" ...",
                line.argument(0)
            )
        },
        act: Act::Ask(|line| {
            let name = line.argument(0);
            Request::Parameter(ParameterRequest::ClearGlobalParameter { name })
        }),
        ..PLAIN
    },
    Verb {
        name: "list_global_parameters",
        usage: "[--no-table-headers]",
        columns: fixed(&["name", "value"], true),
        banner: |_| "Listing global runtime parameters ...".to_owned(),
        act: Act::Ask(|_| Request::Parameter(ParameterRequest::ListGlobalParameters)),
        ..PLAIN
    },
    Verb {
        name: "set_vhost_limits",
        usage: "[--vhost <vhost>] <definition>",
        arguments: (1, 1),
        banner: |line| {
            let (definition, vhost) = (line.argument(0), &line.vhost);
            format!("Setting vhost limits to \"{definition}\" for vhost \"{vhost}\" ...")
        },
        act: Act::Ask(|line| {
            Request::Parameter(ParameterRequest::SetVhostLimits {
                vhost: line.vhost.clone(),
                definition: line.argument(0),
            })
        }),
        ..PLAIN
    },
    Verb {
        name: "clear_vhost_limits",
        usage: "[--vhost <vhost>]",
        banner: |line| format!("Clearing vhost \"{}\" limits ...", line.vhost),
        act: Act::Ask(|line| {
            let vhost = line.vhost.clone();
            Request::Parameter(ParameterRequest::ClearVhostLimits { vhost })
        }),
        ..PLAIN
    },
    Verb {
        name: "list_vhost_limits",
        usage: "[--vhost <vhost>] [--global] [--no-table-headers]",
        switches: &[GLOBAL],
        columns: fixed(&["vhost", "limits"], true),
        banner: |line| match line.has("global") {
            true => "Listing limits for all vhosts ...".to_owned(),
            false => format!("Listing limits for vhost \"{}\" ...", line.vhost),
        },
        act: Act::Ask(|line| {
            let vhost = (!line.has("global")).then(|| line.vhost.clone());
            Request::Parameter(ParameterRequest::ListVhostLimits { vhost })
        }),
        ..PLAIN
    },
    Verb {
        name: "set_user_limits",
        usage: "<username> <definition>",
        arguments: (2, 2),
        banner: |line| {
            let (user, definition) = (line.argument(0), line.argument(1));
            format!("Setting user limits to \"{definition}\" for user \"{user}\" ...")
        },
        act: Act::Ask(|line| {
            Request::Parameter(ParameterRequest::SetUserLimits {
                user: line.argument(0),
                definition: line.argument(1),
            })
        }),
        ..PLAIN
    },
    Verb {
        name: "clear_user_limits",
        usage: "<username> <limit_type> | all",
        arguments: (2, 2),
        banner: |line| match (line.argument(0), line.argument(1).as_str()) {
            (user, "all") => format!("Clearing all limits for user \"{user}\" ..."),
            (user, limit) => format!("Clearing \"{limit}\" limit for user \"{user}\" ..."),
        },
        act: Act::Ask(|line| {
            Request::Parameter(ParameterRequest::ClearUserLimits {
                user: line.argument(0),
                name: Some(line.argument(1)).filter(|name| name != "all"),
            })
        }),
        ..PLAIN
    },
    Verb {
        name: "list_user_limits",
        usage: "[--user <username>] [--global] [--no-table-headers]",
        switches: &[GLOBAL, USER],
        columns: fixed(&["user", "limits"], true),
        banner: |line| match limited_user(line) {
            None => "Listing limits for all users ...".to_owned(),
            Some(user) => format!("Listing limits for user \"{user}\" ..."),
        },
        act: Act::Ask(|line| {
            let user = limited_user(line);
            Request::Parameter(ParameterRequest::ListUserLimits { user })
        }),
        ..PLAIN
    },
    Verb {
        name: "set_permissions_globally",
        usage: "<username> <conf> <write> <read>",
        arguments: (4, 4),
        banner: |line| {
            format!(
                "Setting permissions for user \"{}\" in all virtual hosts ...",
                line.argument(0)
            )
        },
        act: Act::Ask(|line| {
            Request::Parameter(ParameterRequest::SetPermissionsGlobally {
                user: line.argument(0),
                configure: line.argument(1),
                write: line.argument(2),
                read: line.argument(3),
            })
        }),
        ..PLAIN
    },
    Verb {
        name: "update_vhost_metadata",
        usage: "<vhost> [--description <description>] [--tags \"<tag1>,<tag2>,<...>\"] [--default-queue-type <quorum|classic|stream>]",
        arguments: (1, 1),
        switches: &[
            Switch::value("description"),
            Switch::value("tags"),
            Switch::value("default-queue-type"),
        ],
        banner: |line| format!("Updating metadata of vhost \"{}\" ...", line.argument(0)),
        act: Act::Ask(|line| {
            Request::Parameter(ParameterRequest::UpdateVhostMetadata {
                vhost: line.argument(0),
                description: line.option("description").map(str::to_owned),
                tags: line.option("tags").map(words),
                default_queue_type: line.option("default-queue-type").map(str::to_owned),
                protected_from_deletion: None,
            })
        }),
        ..PLAIN
    },
    Verb {
        name: "set_vhost_tags",
        usage: "<vhost> <tag> [...]",
        arguments: (1, usize::MAX),
        banner: |line| {
            let tags = line.arguments.get(1..).unwrap_or_default().join(", ");
            format!(
                "Setting tags for virtual host \"{}\" to [{tags}] ...",
                line.argument(0)
            )
        },
        act: Act::Ask(|line| {
            Request::Parameter(ParameterRequest::UpdateVhostMetadata {
                vhost: line.argument(0),
                description: None,
                tags: Some(line.arguments.get(1..).unwrap_or_default().to_vec()),
                default_queue_type: None,
                protected_from_deletion: None,
            })
        }),
        ..PLAIN
    },
    Verb {
        name: "enable_vhost_deletion_protection",
        usage: "<vhost>",
        arguments: (1, 1),
        banner: |line| {
            let vhost = line.argument(0);
            format!("Protecting virtual host \"{vhost}\" from removal by updating its metadata...")
        },
        act: Act::Ask(|line| protect(line, true)),
        ..PLAIN
    },
    Verb {
        name: "disable_vhost_deletion_protection",
        usage: "<vhost>",
        arguments: (1, 1),
        banner: |line| {
            let vhost = line.argument(0);
            format!(
                "Removing deletion protection from virtual host \"{vhost}\" by updating its metadata..."
            )
        },
        act: Act::Ask(|line| protect(line, false)),
        ..PLAIN
    },
    Verb {
        name: "set_cluster_name",
        usage: "<name>",
        arguments: (1, 1),
        banner: |line| format!("Setting cluster name to {} ...", line.argument(0)),
        act: Act::Ask(|line| {
            let name = line.argument(0);
            Request::Parameter(ParameterRequest::SetClusterName { name })
        }),
        ..PLAIN
    },
];

fn priority(line: &Line) -> Result<i64, String> {
    let given = line.option("priority").unwrap_or("0");
    given.parse().map_err(|_| format!("--priority : {given}"))
}

fn apply_to(line: &Line) -> String {
    line.option("apply-to").unwrap_or("all").to_owned()
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(',').map(str::trim);
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The user of whom limits are listed; none for all.
fn limited_user(line: &Line) -> Option<String> {
    let user = line.option("user").map(str::to_owned);
    user.filter(|_| !line.has("global"))
}

fn set_policy_banner(line: &Line, what: &str) -> String {
    let [name, pattern, definition] = [0, 1, 2].map(|at| line.argument(at));
    let priority = line.option("priority").unwrap_or("0");
    format!(
        "Setting {what} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \
         \"{priority}\" for vhost \"{}\" ...",
        line.vhost
    )
}

fn set_policy(line: &Line, operator: bool) -> Request {
    Request::Parameter(ParameterRequest::SetPolicy {
        vhost: line.vhost.clone(),
        operator,
        name: line.argument(0),
        pattern: line.argument(1),
        definition: line.argument(2),
        priority: priority(line).expect("the line was checked"),
        apply_to: apply_to(line),
    })
}

fn clear_policy(line: &Line, operator: bool) -> Request {
    Request::Parameter(ParameterRequest::ClearPolicy {
        vhost: line.vhost.clone(),
        operator,
        name: line.argument(0),
    })
}

fn list_policies(line: &Line, operator: bool) -> Request {
    let vhost = line.vhost.clone();
    Request::Parameter(ParameterRequest::ListPolicies { vhost, operator })
}

fn protect(line: &Line, protected: bool) -> Request {
    Request::Parameter(ParameterRequest::UpdateVhostMetadata {
        vhost: line.argument(0),
        description: None,
        tags: None,
        default_queue_type: None,
        protected_from_deletion: Some(protected),
    })
}
