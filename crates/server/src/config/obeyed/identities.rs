//! Users.

use crate::config::key::{Applies::*, Key, key};

pub(super) static KEYS: &[Key] = &[
    key(
        "default_user",
        Restart,
        "guest",
        "the user of a new data directory",
        |config, given| {
            config.settings.identities.default_user = given.text();
            Ok(())
        },
    ),
    key(
        "default_pass",
        Restart,
        "guest",
        "that user's password",
        |config, given| {
            config.settings.identities.default_password = given.text();
            Ok(())
        },
    ),
    key(
        "default_vhost",
        Restart,
        "/",
        "the vhost of a new data directory",
        |config, given| {
            config.settings.identities.default_vhost = given.text();
            Ok(())
        },
    ),
    key(
        "loopback_users",
        Restart,
        "",
        "`none`: every user may log in from anywhere",
        |config, given| {
            given.one_of(&["none"])?;
            config.settings.identities.loopback_users.clear();
            Ok(())
        },
    ),
    key(
        "loopback_users.$user",
        Restart,
        "",
        "whether the user may log in only from this machine; `guest` may unless this is `false`",
        |config, given| {
            let (user, only_loopback) = (given.name(), given.switch()?);
            let users = &mut config.settings.identities.loopback_users;
            users.retain(|known| *known != user);
            if only_loopback {
                users.push(user);
            }
            Ok(())
        },
    ),
    key(
        "anonymous_login_user",
        Restart,
        "guest",
        "who a client is that logs in with ANONYMOUS; `none` refuses such clients",
        |config, given| {
            let login = &mut config.settings.anonymous_login;
            *login = match given.value {
                "none" => None,
                user => {
                    let password = login
                        .take()
                        .map_or_else(|| "guest".into(), |(_, password)| password);
                    Some((user.to_owned(), password))
                }
            };
            Ok(())
        },
    ),
    key(
        "anonymous_login_pass",
        Restart,
        "guest",
        "that user's password",
        |config, given| {
            if let Some((_, password)) = &mut config.settings.anonymous_login {
                *password = given.text();
            }
            Ok(())
        },
    ),
];
