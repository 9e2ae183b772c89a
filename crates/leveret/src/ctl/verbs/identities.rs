//! Verbs about users and their permissions.

use metadata::identity::{HashingAlgorithm, PasswordHash, USER_TAGS_MAX};
use server::control::protocol::{Password, Request, Secret};

use super::{Act, PLAIN, Switch, Verb};
use crate::ctl::line::Line;

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "add_user",
        usage: "<username> [<password>] [<password_hash> --pre-hashed-password]",
        arguments: (1, 2),
        switches: &[Switch::flag("pre-hashed-password")],
        password_at: Some(1),
        check: check_add_user,
        banner: |line| format!("Adding user \"{}\" ...", line.argument(0)),
        act: Act::Ask(|line| {
            let secret = Secret(line.argument(1));
            let hashed = line.has("pre-hashed-password");
            let password = if hashed {
                Password::Hash(secret)
            } else {
                Password::Clear(secret)
            };
            Request::AddUser {
                user: line.argument(0),
                password,
            }
        }),
        ..PLAIN
    },
    Verb {
        name: "delete_user",
        usage: "<username>",
        arguments: (1, 1),
        banner: |line| format!("Deleting user \"{}\" ...", line.argument(0)),
        act: Act::Ask(|line| Request::DeleteUser {
            user: line.argument(0),
        }),
        ..PLAIN
    },
    Verb {
        name: "change_password",
        usage: "<username> <password>",
        arguments: (1, 2),
        password_at: Some(1),
        banner: |line| format!("Changing password for user \"{}\" ...", line.argument(0)),
        act: Act::Ask(|line| Request::ChangePassword {
            user: line.argument(0),
            password: Secret(line.argument(1)),
        }),
        ..PLAIN
    },
    Verb {
        name: "clear_password",
        usage: "<username>",
        arguments: (1, 1),
        banner: |line| format!("Clearing password for user \"{}\" ...", line.argument(0)),
        act: Act::Ask(|line| Request::ClearPassword {
            user: line.argument(0),
        }),
        ..PLAIN
    },
    Verb {
        name: "authenticate_user",
        usage: "<username> <password>",
        arguments: (1, 2),
        password_at: Some(1),
        banner: |line| format!("Authenticating user \"{}\" ...", line.argument(0)),
        act: Act::Ask(|line| Request::AuthenticateUser {
            user: line.argument(0),
            password: Secret(line.argument(1)),
        }),
        ..PLAIN
    },
    Verb {
        name: "set_user_tags",
        usage: "<username> <tag> [...]",
        arguments: (1, usize::MAX),
        check: check_tags,
        banner: |line| {
            let tags = tags(line).join(", ");
            format!(
                "Setting tags for user \"{}\" to [{tags}] ...",
                line.argument(0)
            )
        },
        act: Act::Ask(|line| Request::SetUserTags {
            user: line.argument(0),
            tags: tags(line),
        }),
        ..PLAIN
    },
    Verb {
        name: "set_permissions",
        usage: "[--vhost <vhost>] <username> <conf> <write> <read>",
        arguments: (4, 4),
        banner: |line| {
            let (user, vhost) = (line.argument(0), &line.vhost);
            format!("Setting permissions for user \"{user}\" in vhost \"{vhost}\" ...")
        },
        act: Act::Ask(|line| Request::SetPermissions {
            vhost: line.vhost.clone(),
            user: line.argument(0),
            configure: line.argument(1),
            write: line.argument(2),
            read: line.argument(3),
        }),
        ..PLAIN
    },
    Verb {
        name: "clear_permissions",
        usage: "[--vhost <vhost>] <username>",
        arguments: (1, 1),
        banner: |line| {
            let (user, vhost) = (line.argument(0), &line.vhost);
            format!("Clearing permissions for user \"{user}\" in vhost \"{vhost}\" ...")
        },
        act: Act::Ask(|line| Request::ClearPermissions {
            vhost: line.vhost.clone(),
            user: line.argument(0),
        }),
        ..PLAIN
    },
    Verb {
        name: "set_topic_permissions",
        usage: "[--vhost <vhost>] <username> <exchange> <write> <read>",
        arguments: (4, 4),
        banner: |line| {
            let (user, exchange, vhost) = (line.argument(0), line.argument(1), &line.vhost);
            format!(
                "Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."
            )
        },
        act: Act::Ask(|line| Request::SetTopicPermissions {
            vhost: line.vhost.clone(),
            user: line.argument(0),
            exchange: line.argument(1),
            write: line.argument(2),
            read: line.argument(3),
        }),
        ..PLAIN
    },
    Verb {
        name: "clear_topic_permissions",
        usage: "[--vhost <vhost>] <username> [<exchange>]",
        arguments: (1, 2),
        banner: |line| {
            let (user, vhost) = (line.argument(0), &line.vhost);
            let on = match line.arguments.get(1) {
                Some(exchange) => format!(" on \"{exchange}\""),
                None => String::new(),
            };
            format!("Clearing topic permissions{on} for user \"{user}\" in vhost \"{vhost}\" ...")
        },
        act: Act::Ask(|line| Request::ClearTopicPermissions {
            vhost: line.vhost.clone(),
            user: line.argument(0),
            exchange: line.arguments.get(1).cloned(),
        }),
        ..PLAIN
    },
    Verb {
        name: "hash_password",
        usage: "<cleartext_password> [--hashing-algorithm <algorithm>]",
        arguments: (0, 1),
        switches: &[Switch::value("hashing-algorithm")],
        password_at: Some(0),
        check: |line| match (line.arguments.first().map(String::as_str), algorithm(line)) {
            (Some(""), _) => Err("password cannot be an empty string".to_owned()),
            (_, None) => {
                let name = line.option("hashing-algorithm").unwrap_or_default();
                Err(format!("unsupported hashing algorithm: {name}"))
            }
            _ => Ok(()),
        },
        banner: |line| match line.arguments.first() {
            Some(password) => format!("Will hash password {password}"),
            None => "Will hash provided password".to_owned(),
        },
        act: Act::Local(|line| {
            let algorithm = algorithm(line).unwrap_or(HashingAlgorithm::DEFAULT);
            let password = line.argument(0);
            Ok(PasswordHash::salted(algorithm, rand::random(), password.as_bytes()).to_base64())
        }),
        ..PLAIN
    },
];

fn tags(line: &Line) -> Vec<String> {
    line.arguments.iter().skip(1).cloned().collect()
}

fn check_tags(line: &Line) -> Result<(), String> {
    let count = tags(line).len();
    if count <= USER_TAGS_MAX {
        return Ok(());
    }
    Err(format!(
        "A user can have at most {USER_TAGS_MAX} tags (received {count})"
    ))
}

fn check_add_user(line: &Line) -> Result<(), String> {
    if line.argument(0).is_empty() {
        return Err("user cannot be an empty string".to_owned());
    }
    let hash = line
        .arguments
        .get(1)
        .filter(|_| line.has("pre-hashed-password"));
    match hash.map(|text| PasswordHash::from_base64(text)) {
        Some(Err(_)) => Err("Could not Base64 decode provided password hash value".to_owned()),
        _ => Ok(()),
    }
}

/// By the names that `hash_password` takes; none if there is no such.
fn algorithm(line: &Line) -> Option<HashingAlgorithm> {
    match line
        .option("hashing-algorithm")
        .map(str::to_lowercase)
        .as_deref()
    {
        None => Some(HashingAlgorithm::DEFAULT),
        Some("sha256" | "sha-256") => Some(HashingAlgorithm::Sha256),
        Some("sha512" | "sha-512") => Some(HashingAlgorithm::Sha512),
        Some("md5") => Some(HashingAlgorithm::Md5),
        Some(_) => None,
    }
}
