//! Logins and permissions that a directory decides.

use std::net::TcpListener;
use std::time::Duration;

use probe::{Client, Options};
use server::auth::{AuthOptions, Backend, BindAs, CacheOptions, LdapOptions, Link, Named};

use crate::broker::Broker;
use crate::directory::Directory;
use crate::service::get;

const LDAP: Link = Link {
    authn: Backend::Ldap,
    authz: Backend::Ldap,
};

const PEOPLE: &str = "ou=People,dc=example,dc=com";

/// Ann and Bob, and groups: Ann is in `writers`, which is in `staff`; Bob is in `staff`'s circle.
fn directory() -> Directory {
    let directory = Directory::new();
    directory.add("dc=example,dc=com", &["dc=example"]);
    directory.add(PEOPLE, &["ou=People"]);
    directory.add(
        &format!("cn=ann,{PEOPLE}"),
        &[
            "cn=ann",
            "userPassword=p",
            "mail=ann@example.com",
            "team=blue",
            "team=red",
            "home=q-ann",
        ],
    );
    directory.add(
        &format!("cn=bob\\,x,{PEOPLE}"),
        &["cn=bob,x", "userPassword=p", "team=blue"],
    );
    directory.add(
        "cn=looker,dc=example,dc=com",
        &["cn=looker", "userPassword=see"],
    );
    let groups = "ou=groups,dc=example,dc=com";
    directory.add(groups, &["ou=groups"]);
    let ann = format!("member=cn=ann,{PEOPLE}");
    directory.add(&format!("cn=writers,{groups}"), &[&ann]);
    let writers = format!("member=cn=writers,{groups}");
    directory.add(
        &format!("cn=staff,{groups}"),
        &[&writers, &format!("member=cn=all,{groups}")],
    );
    directory.add(
        &format!("cn=all,{groups}"),
        &[&format!("member=cn=staff,{groups}")],
    );
    directory.add(&format!("cn=others,{groups}"), &["uniqueMember=cn=nobody"]);
    directory.add("ou=vhosts,dc=example,dc=com", &["ou=vhosts"]);
    directory.add("ou=/,ou=vhosts,dc=example,dc=com", &["ou=/"]);
    directory
}

/// The test's own directory, or the real one that `interop/slapd/run` has filled alike.
fn port(directory: &Directory) -> u16 {
    match std::env::var("LEVERET_SLAPD_PORT") {
        Ok(port) => port.parse().expect("a port"),
        Err(_) => directory.port(),
    }
}

fn options(directory: &Directory) -> LdapOptions {
    LdapOptions {
        servers: vec!["127.0.0.1".into()],
        port: port(directory),
        user_dn_pattern: format!("cn=${{username}},{PEOPLE}"),
        group_lookup_base: Some("ou=groups,dc=example,dc=com".into()),
        ..LdapOptions::default()
    }
}

fn start(ldap: LdapOptions) -> Broker {
    start_with(ldap, vec![LDAP], CacheOptions::default())
}

fn start_with(ldap: LdapOptions, links: Vec<Link>, cache: CacheOptions) -> Broker {
    Broker::with_auth(AuthOptions {
        links,
        ldap,
        cache,
        ..AuthOptions::default()
    })
}

/// What a method brings: its answer's name, or the text of the channel's end.
fn told(client: &mut Client, method: &str) -> String {
    let answer = client.call(1, method).expect("an answer");
    match answer.name() {
        "channel.close" => {
            let text = answer
                .method()
                .expect("a method")
                .text("reply_text")
                .to_owned();
            client
                .send(1, "channel.close-ok", b"")
                .expect("it is read from");
            client.open_channel(1);
            text
        }
        name => name.to_owned(),
    }
}

#[test]
fn who_can_bind_is_let_in() {
    let directory = directory();
    let broker = start(options(&directory));
    assert!(broker.log_in("ann", "p").is_ok());
    let ann = format!("bind cn=ann,{PEOPLE}");
    assert_eq!(
        directory.asked(),
        [ann.clone(), ann.clone()],
        "for the login, and for the vhost"
    );
    assert!(broker.log_in("ann", "wrong").is_err());
    assert_eq!(directory.asked(), [ann]);
    assert!(broker.log_in("nobody", "p").is_err());
    directory.asked();
    // Without a password a bind would succeed and prove nothing.
    assert!(broker.log_in("ann", "").is_err());
    assert_eq!(directory.asked(), Vec::<String>::new());
}

#[test]
fn names_cannot_say_more_than_their_own() {
    let directory = directory();
    let broker = start(options(&directory));
    // The comma is Bob's, not the pattern's.
    assert!(broker.log_in("bob,x", "p").is_ok());
    directory.asked();
    for (user, bound) in [
        ("looker,dc=example,dc=com", "looker\\,dc=example\\,dc=com"),
        ("ann+cn=x", "ann\\+cn=x"),
        ("\" ", "\\\"\\ "),
    ] {
        assert!(broker.log_in(user, "see").is_err(), "{user}");
        assert_eq!(directory.asked(), [format!("bind cn={bound},{PEOPLE}")]);
    }
    drop(broker);
    let broker = start(LdapOptions {
        user_dn_pattern: "${username}".into(),
        ..options(&directory)
    });
    assert!(broker.log_in("", "p").is_err());
    assert_eq!(
        directory.asked(),
        Vec::<String>::new(),
        "nobody binds as nobody"
    );
    drop(broker);
    // In a filter a star is a star, and a bracket a bracket.
    let broker = start(LdapOptions {
        user_dn_pattern: "${username}".into(),
        dn_lookup_attribute: Some("mail".into()),
        dn_lookup_base: Some(PEOPLE.into()),
        dn_lookup_bind: BindAs::Anonymous,
        ..options(&directory)
    });
    for user in ["*", "ann@*", "x)(cn=ann", "\\2a"] {
        assert!(broker.log_in(user, "p").is_err(), "{user}");
        assert_eq!(
            directory.asked()[0],
            format!("search {PEOPLE} sub mail={user}")
        );
    }
}

#[test]
fn names_are_looked_up_before_or_after_the_bind() {
    let directory = directory();
    let ann = format!("cn=ann,{PEOPLE}");
    let look = format!("search {PEOPLE} sub mail=ann@example.com");
    let looks_up = LdapOptions {
        user_dn_pattern: "${username}".into(),
        dn_lookup_attribute: Some("mail".into()),
        dn_lookup_base: Some(PEOPLE.into()),
        ..options(&directory)
    };
    let looker = BindAs::Named(Named {
        dn: "cn=looker,dc=example,dc=com".into(),
        password: "see".into(),
    });
    for (dn_lookup_bind, expected) in [
        (BindAs::Anonymous, vec![look.clone(), format!("bind {ann}")]),
        (
            looker.clone(),
            vec![
                "bind cn=looker,dc=example,dc=com".to_owned(),
                look.clone(),
                format!("bind {ann}"),
            ],
        ),
    ] {
        let broker = start(LdapOptions {
            dn_lookup_bind,
            ..looks_up.clone()
        });
        assert!(broker.log_in("ann@example.com", "p").is_ok());
        assert_eq!(directory.asked()[..expected.len()], expected);
        assert!(broker.log_in("ann@example.com", "wrong").is_err());
        directory.asked();
    }
    // As in Active Directory: who binds is written otherwise than where they stand.
    directory.add("ann@corp", &["userPassword=p"]);
    let broker = start(LdapOptions {
        user_dn_pattern: "${ad_user}@example.com".into(),
        user_bind_pattern: Some("${ad_user}@${ad_domain}".into()),
        dn_lookup_bind: BindAs::User,
        other_bind: looker,
        vhost_access: "{in_group, \"cn=writers,ou=groups,dc=example,dc=com\"}".into(),
        ..looks_up
    });
    assert!(broker.log_in("CORP\\ann", "p").is_ok());
    let asked = directory.asked();
    assert_eq!(asked[..2], ["bind ann@CORP".to_owned(), look]);
    assert!(
        asked[2..]
            .iter()
            .all(|asked| !asked.starts_with("bind ann")),
        "{asked:?}"
    );
}

/// Queries, and whether they say yes to Ann. RabbitMQ's documentation and tests have most of them.
const QUERIES: &[(&str, bool)] = &[
    ("{constant, true}", true),
    ("{constant, false}", false),
    (
        "{exists, \"ou=${vhost},ou=vhosts,dc=example,dc=com\"}",
        true,
    ),
    (
        "{in_group, \"cn=writers,ou=groups,dc=example,dc=com\"}",
        true,
    ),
    (
        "{in_group, \"cn=staff,ou=groups,dc=example,dc=com\"}",
        false,
    ),
    (
        "{in_group, \"cn=others,ou=groups,dc=example,dc=com\", \"uniqueMember\"}",
        false,
    ),
    (
        "{in_group_nested, \"cn=staff,ou=groups,dc=example,dc=com\"}",
        true,
    ),
    (
        "{in_group_nested, \"CN=Staff,ou=groups,dc=example,dc=com\", \"member\", onelevel}",
        true,
    ),
    (
        "{in_group_nested, \"cn=all,ou=groups,dc=example,dc=com\", \"member\"}",
        true,
    ),
    (
        "{in_group_nested, \"cn=others,ou=groups,dc=example,dc=com\"}",
        false,
    ),
    ("{'not', {constant, false}}", true),
    (
        "{'not', {in_group, \"cn=writers,ou=groups,dc=example,dc=com\"}}",
        false,
    ),
    ("{'and', [{constant, true}, {constant, true}]}", true),
    ("{'and', [{constant, true}, {constant, false}]}", false),
    (
        "{'and', [{exists, \"cn=none,dc=nowhere\"}, {constant, true}]}",
        false,
    ),
    (
        "{'or', [{exists, \"cn=none,dc=nowhere\"}, {constant, true}]}",
        true,
    ),
    ("{'or', []}", false),
    ("{equals, \"${username}\", \"ann\"}", true),
    (
        "{equals, {string, \"${permission} ${resource} ${user_dn}\"}, \
      {string, \"configure queue cn=ann,ou=People,dc=example,dc=com\"}}",
        true,
    ),
    ("{equals, \"${username}\", \"bob\"}", false),
    (
        "{equals, {attribute, \"${user_dn}\", \"mail\"}, {string, \"${username}@example.com\"}}",
        true,
    ),
    (
        "{equals, {attribute, \"${user_dn}\", \"team\"}, \"red\"}",
        true,
    ),
    (
        "{equals, {attribute, \"${user_dn}\", \"team\"}, \"green\"}",
        false,
    ),
    (
        "{equals, {attribute, \"${user_dn}\", \"none\"}, \"red\"}",
        false,
    ),
    (
        "{match, {string, \"${name}\"}, {string, \"^q[0-9]+$\"}}",
        true,
    ),
    ("{match, \"${name}\", \"^x\"}", false),
    (
        "{match, {string, \"blue\"}, {attribute, \"${user_dn}\", \"team\"}}",
        true,
    ),
    (
        "{match, {attribute, \"${user_dn}\", \"team\"}, {string, \"^r\"}}",
        true,
    ),
    (
        "{match, {attribute, \"${user_dn}\", \"team\"}, {string, \"^g\"}}",
        false,
    ),
    (
        "{for, [{permission, write, {constant, false}}, {permission, configure, {constant, true}}]}",
        true,
    ),
    (
        "{for, [{resource, exchange, {constant, true}}, {resource, queue, {constant, false}}]}",
        false,
    ),
];

/// Queries that cannot be told, and are a no that says so.
const FAILING: &[&str] = &[
    "{for, [{permission, read, {constant, true}}]}",
    "{for, [{routing_key, \"a\", {constant, true}}]}",
    "{exists, \"cn=none,dc=nowhere\"}",
    "{exists, \"ou=${name},ou=vhosts,dc=example,dc=com\"}",
    "{string, \"true\"}",
    "{'and', [{constant, true}, {attribute, \"${user_dn}\", \"none\"}]}",
];

#[test]
fn queries_say_who_may_do_what() {
    let directory = directory();
    // One query for each queue.
    let cases: Vec<String> = QUERIES
        .iter()
        .map(|(query, _)| *query)
        .chain(FAILING.iter().copied())
        .enumerate()
        .map(|(n, query)| format!("{{name, \"q{n}\", {query}}}"))
        .collect();
    let broker = start(LdapOptions {
        resource_access: format!("{{for, [{}]}}.", cases.join(", ")),
        ..options(&directory)
    });
    let mut client = broker.log_in("ann", "p").expect("she is let in");
    for (n, (query, yes)) in QUERIES.iter().enumerate() {
        let refused = format!(
            "ACCESS_REFUSED - configure access to queue 'q{n}' in vhost '/' refused for user 'ann'"
        );
        let expected = if *yes { "queue.declare-ok" } else { &refused };
        assert_eq!(
            told(&mut client, &format!("queue.declare queue=q{n}")),
            expected,
            "{query}"
        );
    }
    for (n, query) in (QUERIES.len()..).zip(FAILING) {
        let expected = format!(
            "ACCESS_REFUSED - configure access to queue 'q{n}' in vhost '/' refused for user 'ann', backend \
             rabbit_auth_backend_ldap returned an error: ldap_evaluate_error"
        );
        assert_eq!(
            told(&mut client, &format!("queue.declare queue=q{n}")),
            expected,
            "{query}"
        );
    }
}

#[test]
fn tags_vhosts_and_topics_have_queries_of_their_own() {
    let directory = directory();
    let broker = start(LdapOptions {
        tags: "[{administrator, {in_group, \"cn=writers,ou=groups,dc=example,dc=com\"}}, {management, {constant, true}}, \
               {monitoring, {exists, \"cn=none,dc=nowhere\"}}]"
            .into(),
        vhost_access: "{exists, \"ou=${vhost},ou=vhosts,dc=example,dc=com\"}".into(),
        topic_access: "{'and', [{match, \"${routing_key}\", \"^${username}\\\\.\"}, \
                       {equals, \"${variable_map.username} ${variable_map.vhost}\", \"${username} ${vhost}\"}]}"
            .into(),
        ..options(&directory)
    });
    let whoami = |authorization: &str| {
        let address = broker.management.0.expect("it is served");
        get(address, "/api/whoami", authorization)
    };
    let ann = whoami("Basic YW5uOnA=");
    assert!(ann.contains("[\"administrator\",\"management\"]"), "{ann}");
    let bob = whoami("Basic Ym9iLHg6cA==");
    assert!(bob.contains("[\"management\"]"), "{bob}");
    let mut client = broker.log_in("ann", "p").expect("she is let in");
    let options = Options {
        user: "ann".into(),
        password: "p".into(),
        vhost: "other".into(),
        ..Options::default()
    };
    assert!(Client::open(broker.address, &options).is_err());
    assert_eq!(
        told(&mut client, "queue.declare queue=q"),
        "queue.declare-ok"
    );
    let bind = |key: &str| format!("queue.bind queue=q exchange=amq.topic routing_key={key}");
    assert_eq!(told(&mut client, &bind("ann.x")), "queue.bind-ok");
    assert_eq!(
        told(&mut client, &bind("bob.x")),
        "ACCESS_REFUSED - read access to topic 'bob.x' in exchange 'amq.topic' in vhost '/' refused for user 'ann'"
    );
}

#[test]
fn a_directory_that_is_down_slow_or_silent_keeps_nobody_waiting() {
    let directory = directory();
    let broker = start(LdapOptions {
        timeout: Duration::from_millis(300),
        ..options(&directory)
    });
    let mut client = broker.log_in("ann", "p").expect("she is let in");
    // Closed connections are opened anew.
    directory.hang_up();
    assert_eq!(
        told(&mut client, "queue.declare queue=q"),
        "queue.declare-ok"
    );
    directory.hold(true);
    let text = told(&mut client, "queue.declare queue=r");
    let begins = "ACCESS_REFUSED - configure access to queue 'r' in vhost '/' refused for user 'ann', backend \
                  rabbit_auth_backend_ldap returned an error: ldap_bind_error";
    assert_eq!(text, begins);
    assert!(broker.log_in("ann", "p").is_err());
    directory.hold(false);
    assert!(broker.log_in("ann", "p").is_ok());
    drop(broker);
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = gone.local_addr().expect("an address").port();
    drop(gone);
    let broker = start(LdapOptions {
        port,
        ..options(&directory)
    });
    assert!(broker.log_in("ann", "p").is_err());
}

#[test]
fn the_next_server_is_asked_if_the_first_is_gone() {
    let directory = directory();
    let broker = start(LdapOptions {
        servers: vec!["127.0.0.2".into(), "127.0.0.1".into()],
        ..options(&directory)
    });
    assert!(broker.log_in("ann", "p").is_ok());
}

#[test]
fn who_waits_for_the_directory_holds_up_nobody_else() {
    let directory = directory();
    let internal = Link {
        authn: Backend::Internal,
        authz: Backend::Internal,
    };
    let ldap = LdapOptions {
        pool_size: 4,
        ..options(&directory)
    };
    let broker = start_with(ldap, vec![internal, LDAP], CacheOptions::default());
    directory.hold(true);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| broker.log_in("ann", "p").is_ok()))
            .collect();
        for _ in 0..10 {
            broker.serve_a_healthy_client();
        }
        directory.hold(false);
        for waiting in waiting {
            assert!(waiting.join().expect("no panic"));
        }
    });
}

#[test]
fn a_directory_stands_beside_others() {
    let directory = directory();
    let link = |authn, authz| Link { authn, authz };
    // The directory says who, the node what: it must know them.
    let ldap = || options(&directory);
    let broker = start_with(
        ldap(),
        vec![link(Backend::Ldap, Backend::Internal)],
        CacheOptions::default(),
    );
    assert!(broker.log_in("ann", "p").is_err());
    let password = node::identities::NewPassword::None;
    broker
        .node
        .identities
        .add_user("ann", password, vec![])
        .expect("new");
    let all = metadata::identity::Permissions::parse(".*", ".*", ".*").expect("patterns");
    let set = broker
        .node
        .identities
        .set_permissions("ann", &"/".into(), all);
    set.expect("she is there");
    assert!(broker.log_in("ann", "p").is_ok());
    assert!(broker.log_in("ann", "wrong").is_err());
    drop(broker);
    // Cached: the directory is asked once.
    let cache = CacheOptions {
        link: LDAP,
        ttl_ms: 1000 * 60 * 60,
        refusals: false,
    };
    let broker = start_with(ldap(), vec![link(Backend::Cache, Backend::Cache)], cache);
    directory.asked();
    for _ in 0..3 {
        let mut client = broker.log_in("ann", "p").expect("she is let in");
        assert_eq!(
            told(&mut client, "queue.declare queue=q"),
            "queue.declare-ok"
        );
    }
    assert_eq!(directory.asked().len(), 3, "login, vhost, queue");
}
