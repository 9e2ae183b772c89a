//! Users and permissions, and what a restart finds of them.

use std::sync::Arc;

use metadata::identity::VhostSpec;

use super::*;
use crate::catalog::{Change, Ticket};

fn open() -> (Identities, Arc<Catalog>, Stored) {
    let (catalog, mut stored) = Catalog::in_memory();
    let catalog = Arc::new(catalog);
    let identities = Identities::open(
        &mut stored,
        Arc::clone(&catalog),
        Arc::default(),
        &IdentitySettings::default(),
    );
    (identities, catalog, stored)
}

fn all() -> Permissions {
    Permissions::parse(".*", ".*", ".*").unwrap()
}

#[test]
fn a_first_start_makes_guest_and_a_vhost() {
    let (identities, catalog, stored) = open();
    assert_eq!(catalog.durable(), Ticket(1));
    assert_eq!(stored.vhosts.len(), 1);
    assert_eq!(
        (&*stored.vhosts[0].name, &*stored.vhosts[0].description),
        ("/", "Default virtual host")
    );
    let guest = identities.authenticate("guest", b"guest", true).unwrap();
    assert_eq!(
        (&**guest.name(), guest.tags()),
        ("guest", &["administrator".to_owned()][..])
    );
    assert!(identities.may_enter("guest", "/"));
    for kind in [
        PermissionKind::Configure,
        PermissionKind::Write,
        PermissionKind::Read,
    ] {
        assert!(identities.check("guest", "/", kind, "anything"));
        assert!(!identities.check("guest", "other", kind, "anything"));
    }
}

#[test]
fn logins_are_refused_for_rabbitmqs_reasons() {
    let (identities, ..) = open();
    identities
        .add_user("ann", NewPassword::Clear(b"secret"), vec![])
        .unwrap();
    identities
        .add_user("cert", NewPassword::None, vec![])
        .unwrap();
    let text = |user: &str, password: &str, loopback: bool| {
        identities
            .authenticate(user, password.as_bytes(), loopback)
            .map_err(|e| e.to_string())
            .err()
    };
    assert_eq!(text("ann", "secret", false), None);
    for (user, password) in [
        ("ann", "Secret"),
        ("nobody", "secret"),
        ("cert", "x"),
        ("", "x"),
    ] {
        assert_eq!(
            text(user, password, true),
            Some(format!("user '{user}' - invalid credentials"))
        );
    }
    assert_eq!(
        text("guest", "guest", false).unwrap(),
        "user 'guest' can only connect via localhost"
    );
    // Who does not know the password does not learn that guest is restricted.
    assert_eq!(
        text("guest", "x", false).unwrap(),
        "user 'guest' - invalid credentials"
    );
    assert!(text("ann", "", true).unwrap().contains("blank password"));
    assert!(identities.authenticate_external("cert", false).is_ok());
    assert!(identities.authenticate_external("nobody", false).is_err());
    assert!(identities.authenticate_external("guest", false).is_err());
}

#[test]
fn users_change_and_the_generation_moves() {
    let (identities, ..) = open();
    let before = identities.generation();
    identities
        .add_user("ann", NewPassword::Clear(b"one"), vec!["x".to_owned()])
        .unwrap();
    assert!(identities.generation() > before);
    assert_eq!(
        identities.add_user("ann", NewPassword::None, vec![]),
        Err(IdentityError::UserExists("ann".to_owned()))
    );
    assert_eq!(
        identities.add_user("", NewPassword::None, vec![]),
        Err(IdentityError::EmptyName)
    );
    let session = identities.authenticate("ann", b"one", true).unwrap();
    identities
        .change_password("ann", NewPassword::Clear(b"two"))
        .unwrap();
    identities.set_tags("ann", vec!["y".to_owned()]).unwrap();
    assert!(identities.authenticate("ann", b"one", true).is_err());
    assert!(
        identities
            .authenticate("ann", b"two", true)
            .unwrap()
            .has_tag("y")
    );
    assert!(session.has_tag("x"));
    let hash = PasswordHash::from_base64("0lu5L0qn9USYdcuaS/AiadTLqg1yThFCSHe/l/dPbLpv7foK");
    identities
        .change_password(
            "ann",
            NewPassword::Hashed(hash.unwrap(), HashingAlgorithm::Sha256),
        )
        .unwrap();
    assert!(identities.authenticate("ann", b"secret", true).is_ok());
    identities
        .change_password("ann", NewPassword::None)
        .unwrap();
    assert!(identities.authenticate("ann", b"secret", true).is_err());
    let tags = vec![String::new(); USER_TAGS_MAX + 1];
    assert_eq!(
        identities.set_tags("ann", tags),
        Err(IdentityError::TooManyTags)
    );
    identities.delete_user("ann").unwrap();
    let missing = IdentityError::NoSuchUser("ann".to_owned());
    assert_eq!(missing.to_string(), "User \"ann\" does not exist");
    assert_eq!(identities.delete_user("ann"), Err(missing.clone()));
    assert_eq!(identities.set_tags("ann", vec![]), Err(missing.clone()));
    assert_eq!(
        identities.set_permissions("ann", &"/".into(), all()),
        Err(missing.clone())
    );
    assert_eq!(identities.permissions_of("ann").unwrap_err(), missing);
}

#[test]
fn two_salts_are_not_the_same() {
    let hash = || NewPassword::Clear(b"x").hash().0.to_base64();
    assert_ne!(hash(), hash());
}

#[test]
fn permissions_are_set_listed_and_cleared() {
    let (identities, ..) = open();
    let (a, b) = (Name::from("a"), Name::from("b"));
    identities
        .add_user("ann", NewPassword::None, vec![])
        .unwrap();
    identities.set_permissions("ann", &b, all()).unwrap();
    identities
        .set_permissions("ann", &a, Permissions::parse("^x", "", ".*").unwrap())
        .unwrap();
    assert!(identities.check("ann", "a", PermissionKind::Configure, "x1"));
    assert!(!identities.check("ann", "a", PermissionKind::Configure, "y"));
    assert!(!identities.check("ann", "a", PermissionKind::Write, "y"));
    let vhosts = |user: &str| -> Vec<String> {
        identities
            .permissions_of(user)
            .unwrap()
            .iter()
            .map(|(v, _)| v.to_string())
            .collect()
    };
    assert_eq!(vhosts("ann"), ["a", "b"]);
    assert_eq!(identities.permissions_in("a").len(), 1);
    assert_ne!(identities.clear_permissions("ann", "a"), Ticket::NONE);
    assert_eq!(identities.clear_permissions("ann", "a"), Ticket::NONE);
    assert_eq!(identities.clear_permissions("nobody", "a"), Ticket::NONE);
    assert!(!identities.may_enter("ann", "a"));
    identities.forget_vhost("b");
    assert!(vhosts("ann").is_empty());
}

#[test]
fn topic_permissions_follow_user_vhost_and_client() {
    let (identities, ..) = open();
    let vhost = Name::from("/");
    identities
        .add_user("ann", NewPassword::None, vec![])
        .unwrap();
    assert!(!identities.has_topic_permissions("ann", "/"));
    let permissions = TopicPermissions::parse("t", "^{username}\\.", "^{client_id}$").unwrap();
    identities
        .set_topic_permissions("ann", &vhost, permissions)
        .unwrap();
    let check = |client: Option<&str>, exchange: &str, action: TopicAction, key: &str| {
        identities.check_topic("ann", "/", client, exchange, action, key)
    };
    assert!(identities.has_topic_permissions("ann", "/"));
    assert!(check(None, "t", TopicAction::Write, "ann.x"));
    assert!(!check(None, "t", TopicAction::Write, "bob.x"));
    assert!(check(None, "other", TopicAction::Write, "bob.x"));
    assert!(check(Some("c1"), "t", TopicAction::Write, "ann.x"));
    assert!(check(Some("c1"), "t", TopicAction::Read, "c1"));
    assert!(!check(Some("c1"), "t", TopicAction::Read, "c2"));
    assert!(!check(None, "t", TopicAction::Read, "c1"));
    let second = TopicPermissions::parse("u", "", "").unwrap();
    identities
        .set_topic_permissions("ann", &vhost, second)
        .unwrap();
    assert_eq!(identities.topic_permissions_in("/").len(), 2);
    assert_eq!(identities.topic_permissions_of("ann").unwrap().len(), 2);
    assert_eq!(
        identities.clear_topic_permissions("ann", "/", Some("none")),
        Ticket::NONE
    );
    assert_ne!(
        identities.clear_topic_permissions("ann", "/", Some("u")),
        Ticket::NONE
    );
    assert_ne!(
        identities.clear_topic_permissions("ann", "/", None),
        Ticket::NONE
    );
    assert_eq!(
        identities.clear_topic_permissions("ann", "/", None),
        Ticket::NONE
    );
    assert!(check(None, "t", TopicAction::Write, "bob.x"));
    let long = "a".repeat(990) + "{username}{username}";
    let user = "u".repeat(30);
    identities
        .add_user(&user, NewPassword::None, vec![])
        .unwrap();
    let permissions = TopicPermissions::parse("t", &long, "").unwrap();
    assert!(
        identities
            .set_topic_permissions(&user, &vhost, permissions)
            .is_err()
    );
}

/// Everything above, as a restart finds it.
#[test]
fn a_restart_finds_what_was_set() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let (catalog, mut stored) = Catalog::open(dir.path()).unwrap();
        let catalog = Arc::new(catalog);
        let settings = IdentitySettings::default();
        let identities =
            Identities::open(&mut stored, Arc::clone(&catalog), Arc::default(), &settings);
        (identities, catalog, stored)
    };
    let (identities, catalog, _) = start();
    catalog.write(Change::PutVhost(VhostSpec::named("gone")));
    identities
        .add_user(
            "ann",
            NewPassword::Clear(b"secret"),
            vec!["monitoring".into()],
        )
        .unwrap();
    for vhost in ["/", "gone", "never"] {
        identities
            .set_permissions("ann", &vhost.into(), all())
            .unwrap();
    }
    let topic = TopicPermissions::parse("t", "^{username}$", "").unwrap();
    identities
        .set_topic_permissions("ann", &"/".into(), topic)
        .unwrap();
    identities.delete_user("guest").unwrap();
    identities.forget_vhost("gone");
    catalog.write(Change::DeleteVhost {
        vhost: "gone".into(),
    });
    drop((identities, catalog));

    let (identities, _catalog, stored) = start();
    assert_eq!(stored.vhosts.len(), 1);
    assert_eq!(identities.users().len(), 1);
    assert!(
        identities
            .authenticate("ann", b"secret", false)
            .unwrap()
            .has_tag("monitoring")
    );
    let vhosts: Vec<_> = identities
        .permissions_of("ann")
        .unwrap()
        .into_iter()
        .map(|(vhost, _)| vhost)
        .collect();
    assert_eq!(vhosts, ["/".into()]);
    assert!(identities.check_topic("ann", "/", None, "t", TopicAction::Write, "ann"));
    assert!(!identities.check_topic("ann", "/", None, "t", TopicAction::Write, "bob"));
}
