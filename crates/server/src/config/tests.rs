//! What configurations come to: every key that is obeyed, every message, every source.

use std::path::PathBuf;

use super::*;
use crate::auth::BindAs;

fn read(text: &str) -> Config {
    Config::parse("f", text).unwrap_or_else(|errors| panic!("{text}: {errors}"))
}

fn errors(text: &str) -> String {
    Config::parse("rabbitmq.conf", text)
        .expect_err("it is wrong")
        .to_string()
}

fn http_options(options: &HttpOptions) -> String {
    let HttpOptions {
        connections_max,
        requests_max,
        request_timeout_ms,
        idle_timeout_ms,
        compress,
        backlog,
    } = options;
    format!(
        "{connections_max} {requests_max} {request_timeout_ms} {idle_timeout_ms} {compress} {backlog}"
    )
}

/// One row a key: what is written, and how the outcome is read back.
type Row = (&'static str, fn(&Config) -> String, &'static str);

const OBEYED: &[Row] = &[
    (
        "load_definitions = /etc/d.json",
        |c| format!("{:?}", c.definitions),
        "Some(\"/etc/d.json\")",
    ),
    (
        "definitions.import_backend = local_filesystem\ndefinitions.local.path = /etc/d",
        |c| format!("{:?}", c.definitions),
        "Some(\"/etc/d\")",
    ),
    (
        "default_queue_type = quorum",
        |c| format!("{:?}", c.settings.default_queue_type),
        "Some(\"quorum\")",
    ),
    (
        "default_limits.vhosts.1.pattern = ^dev\ndefault_limits.vhosts.1.max_queues = 5\n\
         default_limits.vhosts.1.max_connections = -1",
        |c| {
            let limits = &c.settings.default_vhost_limits["1"];
            let (queues, connections) = (limits.queues_max, limits.connections_max);
            format!("{} {queues:?} {connections:?}", limits.pattern.source())
        },
        "^dev Some(5) Some(-1)",
    ),
    (
        "heartbeat = 30",
        |c| c.settings.heartbeat_s.to_string(),
        "30",
    ),
    (
        "frame_max = 8192",
        |c| c.settings.frame_bytes_max.to_string(),
        "8192",
    ),
    (
        "max_channels_per_connection = 5",
        |c| c.settings.channel_max.to_string(),
        "5",
    ),
    (
        "channel_max = 6",
        |c| c.settings.channel_max.to_string(),
        "6",
    ),
    (
        "max_connections = 7",
        |c| c.settings.connections_max.to_string(),
        "7",
    ),
    (
        "connection_max = infinity",
        |c| c.settings.connections_max.to_string(),
        "18446744073709551615",
    ),
    (
        "consumer_max_per_channel = 8",
        |c| c.settings.channel_consumers_max.to_string(),
        "8",
    ),
    (
        "max_message_size = 9",
        |c| c.settings.message_bytes_max.to_string(),
        "9",
    ),
    (
        "handshake_timeout = 10",
        |c| c.settings.handshake_timeout_ms.to_string(),
        "10",
    ),
    (
        "consumer_timeout = 11",
        |c| format!("{:?}", c.settings.consumer_timeout_ms),
        "ConsumerTimeouts { classic: Some(11), quorum: Some(11) }",
    ),
    (
        "consumer_timeout = 0",
        |c| format!("{:?}", c.settings.consumer_timeout_ms),
        "ConsumerTimeouts { classic: None, quorum: None }",
    ),
    (
        "cluster_name = a@b",
        |c| c.settings.cluster_name.clone(),
        "a@b",
    ),
    (
        "vm_memory_high_watermark.relative = 0.4",
        |c| c.settings.memory_watermark_permille.to_string(),
        "400",
    ),
    (
        "vm_memory_high_watermark.absolute = 1GiB",
        |c| format!("{:?}", c.settings.memory_watermark_bytes),
        "Some(1073741824)",
    ),
    (
        "vm_memory_high_watermark.absolute = 1GiB\nvm_memory_high_watermark.relative = 0.4",
        |c| format!("{:?}", c.settings.memory_watermark_bytes),
        "None",
    ),
    (
        "durability = os",
        |c| format!("{:?}", c.settings.durability),
        "Os",
    ),
    (
        "disk_free_limit.absolute = 2GB",
        |c| format!("{:?}", c.settings.disk_free_limit),
        "Bytes(2000000000)",
    ),
    (
        "disk_free_limit.relative = 1.5",
        |c| format!("{:?}", c.settings.disk_free_limit),
        "OfMemory(1500)",
    ),
    (
        "memory.message_cache = 64MiB",
        |c| format!("{:?}", c.settings.message_cache_bytes),
        "Some(67108864)",
    ),
    (
        "data_dir = /d",
        |c| format!("{:?}", c.data_dir),
        "Some(\"/d\")",
    ),
    (
        "listeners.tcp = none\nlisteners.tcp.a = 1",
        |c| c.listen.amqp.none.to_string(),
        "true",
    ),
    (
        "listeners.tcp.2 = [::1]:2\nlisteners.tcp.10 = 10\nlisteners.tcp.1 = 127.0.0.1:1",
        |c| c.listen.amqp.wanted.join(" "),
        "127.0.0.1:1 [::1]:2 10",
    ),
    (
        "default_user = u",
        |c| c.settings.identities.default_user.clone(),
        "u",
    ),
    (
        "default_pass = 'p # q'",
        |c| c.settings.identities.default_password.clone(),
        "p # q",
    ),
    (
        "default_vhost = v",
        |c| c.settings.identities.default_vhost.clone(),
        "v",
    ),
    (
        "loopback_users = none",
        |c| c.settings.identities.loopback_users.join(" "),
        "",
    ),
    (
        "loopback_users.guest = false",
        |c| c.settings.identities.loopback_users.join(" "),
        "",
    ),
    (
        "loopback_users.a\\.b = true",
        |c| c.settings.identities.loopback_users.join(" "),
        "guest a.b",
    ),
    (
        "anonymous_login_user = none",
        |c| format!("{:?}", c.settings.anonymous_login),
        "None",
    ),
    (
        "anonymous_login_user = a\nanonymous_login_pass = b",
        |c| format!("{:?}", c.settings.anonymous_login),
        "Some((\"a\", \"b\"))",
    ),
    (
        "listeners.ssl = none",
        |c| c.listen.amqps.none.to_string(),
        "true",
    ),
    (
        "listeners.ssl.a = 5671",
        |c| c.listen.amqps.wanted.join(" "),
        "5671",
    ),
    (
        "proxy_protocol = true",
        |c| c.listen.proxy_protocol.to_string(),
        "true",
    ),
    (
        "tcp_listen_options.backlog = 5",
        |c| c.listen.options.backlog.to_string(),
        "5",
    ),
    (
        "tcp_listen_options.nodelay = false",
        |c| c.listen.options.nodelay.to_string(),
        "false",
    ),
    (
        "tcp_listen_options.keepalive = true",
        |c| c.listen.options.keepalive.to_string(),
        "true",
    ),
    (
        "tcp_listen_options.sndbuf = 2048",
        |c| format!("{:?}", c.listen.options.send_buffer_bytes),
        "Some(2048)",
    ),
    (
        "tcp_listen_options.recbuf = 4096",
        |c| format!("{:?}", c.listen.options.receive_buffer_bytes),
        "Some(4096)",
    ),
    (
        "ssl_options.certfile = /c",
        |c| format!("{:?}", c.listen.tls.certfile),
        "Some(\"/c\")",
    ),
    (
        "ssl_options.keyfile = /k",
        |c| format!("{:?}", c.listen.tls.keyfile),
        "Some(\"/k\")",
    ),
    (
        "ssl_options.cacertfile = /a",
        |c| format!("{:?}", c.listen.tls.cacertfile),
        "Some(\"/a\")",
    ),
    (
        "ssl_options.verify = verify_peer",
        |c| c.listen.tls.verify_peer.to_string(),
        "true",
    ),
    (
        "ssl_options.fail_if_no_peer_cert = true",
        |c| c.listen.tls.fail_if_no_peer_cert.to_string(),
        "true",
    ),
    (
        "ssl_options.depth = 2",
        |c| c.listen.tls.depth.to_string(),
        "2",
    ),
    (
        "ssl_options.versions.1 = tlsv1.2\nssl_options.versions.2 = tlsv1.1",
        |c| format!("{} {}", c.listen.tls.tls12, c.listen.tls.tls13),
        "true false",
    ),
    (
        "ssl_options.crl_check = peer",
        |c| format!("{:?}", c.listen.tls.crl_check),
        "Peer",
    ),
    (
        "ssl_options.crl_sources.1 = dir\nssl_options.crl_sources.1.path = /l",
        |c| format!("{:?}", c.listen.tls.crl_dirs),
        "[\"/l\"]",
    ),
    (
        "ssl_handshake_timeout = 9",
        |c| c.listen.tls_handshake_timeout_ms.to_string(),
        "9",
    ),
    (
        "ssl_cert_login_from = common_name",
        |c| format!("{:?}", c.listen.login_from()),
        "CommonName",
    ),
    (
        "ssl_cert_login_from = subject_alternative_name\nssl_cert_login_san_type = email\n\
         ssl_cert_login_san_index = 1",
        |c| format!("{:?}", c.listen.login_from()),
        "SubjectAlternativeName(Email, 1)",
    ),
    (
        "auth_mechanisms.1 = EXTERNAL",
        |c| format!("{:?}", c.settings.auth_mechanisms),
        "Some([\"EXTERNAL\"])",
    ),
    (
        "auth_backends.2 = internal\nauth_backends.1 = rabbit_auth_backend_oauth2\nauth_backends.3.authn = http\n\
         auth_backends.3.authz = internal",
        |c| {
            c.auth()
                .links
                .iter()
                .map(|link| format!("{:?}>{:?}", link.authn, link.authz))
                .collect::<Vec<_>>()
                .join(" ")
        },
        "OAuth2>OAuth2 Internal>Internal Http>Internal",
    ),
    (
        "auth_cache.cached_backend = oauth2\nauth_cache.cached_backend.authz = internal",
        |c| {
            format!(
                "{:?} {:?}",
                c.auth().cache.link.authn,
                c.auth().cache.link.authz
            )
        },
        "OAuth2 Internal",
    ),
    (
        "auth_cache.cached_backend.authn = http",
        |c| format!("{:?}", c.auth().cache.link.authn),
        "Http",
    ),
    (
        "auth_cache.cache_ttl = 5",
        |c| c.auth().cache.ttl_ms.to_string(),
        "5",
    ),
    (
        "auth_cache.cache_refusals = true",
        |c| c.auth().cache.refusals.to_string(),
        "true",
    ),
    (
        "auth_http.http_method = post",
        |c| c.auth().http.post.to_string(),
        "true",
    ),
    (
        "auth_http.user_path = http://h/u",
        |c| c.auth().http.user_path.clone(),
        "http://h/u",
    ),
    (
        "auth_http.request_timeout = 7",
        |c| c.auth().http.timeout_ms.to_string(),
        "7",
    ),
    (
        "auth_http.vhost_path = http://h/v",
        |c| c.auth().http.vhost_path.clone(),
        "http://h/v",
    ),
    (
        "auth_http.resource_path = http://h/r",
        |c| c.auth().http.resource_path.clone(),
        "http://h/r",
    ),
    (
        "auth_http.topic_path = http://h/t",
        |c| c.auth().http.topic_path.clone(),
        "http://h/t",
    ),
    (
        "auth_http.authorization_failure_disclosure = true",
        |c| c.auth().http.discloses.to_string(),
        "true",
    ),
    (
        "auth_http.connection_timeout = 8",
        |c| c.auth().http.connect_timeout_ms.to_string(),
        "8",
    ),
    (
        "auth_http.ssl_options.cacertfile = /a",
        |c| format!("{:?}", c.auth().http.tls.cacertfile),
        "Some(\"/a\")",
    ),
    (
        "auth_http.ssl_options.certfile = /b\nauth_http.ssl_options.keyfile = /c",
        |c| {
            let tls = c.auth().http.tls;
            format!("{:?} {:?}", tls.certfile, tls.keyfile)
        },
        "Some(\"/b\") Some(\"/c\")",
    ),
    (
        "auth_http.ssl_options.verify = verify_none",
        |c| c.auth().http.tls.verify_peer.to_string(),
        "false",
    ),
    (
        "auth_http.ssl_options.sni = other",
        |c| format!("{:?}", c.auth().http.tls.server_name),
        "Some(\"other\")",
    ),
    (
        "auth_http.ssl_options.sni = none",
        |c| format!("{:?}", c.auth().http.tls.server_name),
        "None",
    ),
    (
        "auth_http.ssl_options.hostname_verification = none",
        |c| c.auth().http.tls.verify_peer.to_string(),
        "true",
    ),
    (
        "auth_http.ssl_options.versions.1 = tlsv1.2",
        |c| {
            let tls = c.auth().http.tls;
            format!("{} {}", tls.tls12, tls.tls13)
        },
        "true false",
    ),
    (
        "auth_backends.1 = ldap\nauth_backends.2.authn = rabbit_auth_backend_ldap",
        |c| {
            let links = c.auth().links;
            format!(
                "{:?} {:?} {:?}",
                links[0].authn, links[0].authz, links[1].authn
            )
        },
        "Ldap Ldap Ldap",
    ),
    (
        "auth_ldap.servers.1 = a\nauth_ldap.servers.2 = b",
        |c| c.auth().ldap.servers.join(" "),
        "a b",
    ),
    (
        "auth_ldap.port = 636",
        |c| c.auth().ldap.port.to_string(),
        "636",
    ),
    (
        "auth_ldap.connection_pool_size = 7",
        |c| c.auth().ldap.pool_size.to_string(),
        "7",
    ),
    (
        "auth_ldap.timeout = 7",
        |c| format!("{:?}", c.auth().ldap.timeout),
        "7ms",
    ),
    (
        "auth_ldap.timeout = infinity",
        |c| format!("{:?}", c.auth().ldap.timeout),
        "60s",
    ),
    (
        "auth_ldap.idle_timeout = 0",
        |c| format!("{:?}", c.auth().ldap.idle_timeout),
        "Some(0ns)",
    ),
    (
        "auth_ldap.idle_timeout = infinity",
        |c| format!("{:?}", c.auth().ldap.idle_timeout),
        "None",
    ),
    (
        "auth_ldap.log = network",
        |c| c.auth().ldap.log.to_string(),
        "true",
    ),
    (
        "auth_ldap.user_dn_pattern = cn=${username}",
        |c| c.auth().ldap.user_dn_pattern,
        "cn=${username}",
    ),
    (
        "auth_ldap.user_bind_pattern = ${ad_user}",
        |c| format!("{:?}", c.auth().ldap.user_bind_pattern),
        "Some(\"${ad_user}\")",
    ),
    (
        "auth_ldap.dn_lookup_attribute = mail\nauth_ldap.dn_lookup_base = dc=x",
        |c| {
            let ldap = c.auth().ldap;
            format!("{:?} {:?}", ldap.dn_lookup_attribute, ldap.dn_lookup_base)
        },
        "Some(\"mail\") Some(\"dc=x\")",
    ),
    (
        "auth_ldap.dn_lookup_attribute = none\nauth_ldap.dn_lookup_base = none",
        |c| {
            let ldap = c.auth().ldap;
            format!("{:?} {:?}", ldap.dn_lookup_attribute, ldap.dn_lookup_base)
        },
        "None None",
    ),
    (
        "auth_ldap.dn_lookup_bind = anon",
        |c| format!("{:?}", c.auth().ldap.dn_lookup_bind),
        "Anonymous",
    ),
    (
        "auth_ldap.dn_lookup_bind.user_dn = cn=a\nauth_ldap.dn_lookup_bind.password = s",
        |c| match c.auth().ldap.dn_lookup_bind {
            BindAs::Named(named) => format!("{named:?} {}", named.password),
            other => format!("{other:?}"),
        },
        "Named(cn=a) s",
    ),
    (
        "auth_ldap.other_bind = as_user",
        |c| format!("{:?}", c.auth().ldap.other_bind),
        "User",
    ),
    (
        "auth_ldap.other_bind.password = s\nauth_ldap.other_bind.user_dn = cn=a",
        |c| match c.auth().ldap.other_bind {
            BindAs::Named(named) => format!("{named:?} {}", named.password),
            other => format!("{other:?}"),
        },
        "Named(cn=a) s",
    ),
    (
        "auth_ldap.group_lookup_base = ou=g",
        |c| format!("{:?}", c.auth().ldap.group_lookup_base),
        "Some(\"ou=g\")",
    ),
    (
        "auth_ldap.use_ssl = true",
        |c| c.auth().ldap.use_ssl.to_string(),
        "true",
    ),
    (
        "auth_ldap.use_starttls = true",
        |c| c.auth().ldap.use_starttls.to_string(),
        "true",
    ),
    (
        "auth_ldap.queries.tags = [{management, {constant, true}}]",
        |c| c.auth().ldap.tags,
        "[{management, {constant, true}}]",
    ),
    (
        "auth_ldap.queries.vhost_access = {in_group, \"cn=${vhost}\"}",
        |c| c.auth().ldap.vhost_access,
        "{in_group, \"cn=${vhost}\"}",
    ),
    (
        "auth_ldap.queries.resource_access = {match, \"${name}\", \"^a\"}",
        |c| c.auth().ldap.resource_access,
        "{match, \"${name}\", \"^a\"}",
    ),
    (
        "auth_ldap.queries.topic_access = {constant, false}.",
        |c| c.auth().ldap.topic_access,
        "{constant, false}.",
    ),
    (
        "auth_ldap.ssl_options.cacertfile = /a\nauth_ldap.ssl_options.certfile = /b\n\
         auth_ldap.ssl_options.keyfile = /c\nauth_ldap.ssl_options.verify = verify_none\n\
         auth_ldap.ssl_options.sni = other\nauth_ldap.ssl_options.hostname_verification = wildcard\n\
         auth_ldap.ssl_options.versions.1 = tlsv1.3",
        |c| format!("{:?}", c.auth().ldap.tls),
        "ClientTlsOptions { cacertfile: Some(\"/a\"), certfile: Some(\"/b\"), keyfile: Some(\"/c\"), \
         verify_peer: false, tls12: false, tls13: true, versions_named: true, server_name: Some(\"other\") }",
    ),
    (
        "auth_oauth2.resource_server_id = r",
        |c| format!("{:?}", c.auth().oauth2.server.id),
        "Some(\"r\")",
    ),
    (
        "auth_oauth2.scope_prefix = p.",
        |c| format!("{:?}", c.auth().oauth2.server.scope_prefix),
        "Some(\"p.\")",
    ),
    (
        "auth_oauth2.scope_aliases.a = b c",
        |c| format!("{:?}", c.auth().oauth2.server.scope_aliases),
        "{\"a\": \"b c\"}",
    ),
    (
        "auth_oauth2.scope_aliases.1.alias = a:b\nauth_oauth2.scope_aliases.1.scope = c",
        |c| format!("{:?}", c.auth().oauth2.server.numbered_aliases),
        "{\"1\": (\"a:b\", \"c\")}",
    ),
    (
        "auth_oauth2.additional_scopes_key = k",
        |c| format!("{:?}", c.auth().oauth2.server.additional_scopes_key),
        "Some(\"k\")",
    ),
    (
        "auth_oauth2.preferred_username_claims.1 = c",
        |c| c.auth().oauth2.server.preferred_username_claims.join(" "),
        "c",
    ),
    (
        "auth_oauth2.verify_aud = false",
        |c| format!("{:?}", c.auth().oauth2.server.verify_aud),
        "Some(false)",
    ),
    (
        "auth_oauth2.require_exp = false",
        |c| format!("{:?}", c.auth().oauth2.server.require_exp),
        "Some(false)",
    ),
    (
        "auth_oauth2.issuer = http://i",
        |c| format!("{:?}", c.auth().oauth2.provider.issuer),
        "Some(\"http://i\")",
    ),
    (
        "auth_oauth2.jwks_url = http://j",
        |c| format!("{:?}", c.auth().oauth2.provider.jwks_uri),
        "Some(\"http://j\")",
    ),
    (
        "auth_oauth2.discovery_endpoint_path = d",
        |c| format!("{:?}", c.auth().oauth2.provider.discovery_path),
        "Some(\"d\")",
    ),
    (
        "auth_oauth2.signing_keys.k = /k",
        |c| format!("{:?}", c.auth().oauth2.provider.signing_keys),
        "{\"k\": \"/k\"}",
    ),
    (
        "auth_oauth2.default_key = k",
        |c| format!("{:?}", c.auth().oauth2.provider.default_key),
        "Some(\"k\")",
    ),
    (
        "auth_oauth2.algorithms.1 = RS256",
        |c| c.auth().oauth2.provider.algorithms.join(" "),
        "RS256",
    ),
    (
        "auth_oauth2.https.cacertfile = /a",
        |c| format!("{:?}", c.auth().oauth2.provider.cacertfile),
        "Some(\"/a\")",
    ),
    (
        "auth_oauth2.default_oauth_provider = p",
        |c| format!("{:?}", c.auth().oauth2.default_provider),
        "Some(\"p\")",
    ),
    (
        "auth_oauth2.resource_servers.s.id = i\nauth_oauth2.resource_servers.s.oauth_provider_id = p\n\
         auth_oauth2.resource_servers.s.scope_prefix = q\nauth_oauth2.resource_servers.s.scope_aliases.a = b\n\
         auth_oauth2.resource_servers.s.scope_aliases.1.alias = c\nauth_oauth2.resource_servers.s.scope_aliases.1.scope = d\n\
         auth_oauth2.resource_servers.s.additional_scopes_key = e\n\
         auth_oauth2.resource_servers.s.preferred_username_claims.1 = f\n\
         auth_oauth2.resource_servers.s.verify_aud = true\nauth_oauth2.resource_servers.s.require_exp = false",
        |c| {
            let said = c.auth().oauth2.servers["s"].clone();
            format!("{said:?}").replace("Some", "")
        },
        "Said { id: (\"i\"), provider: (\"p\"), scope_prefix: (\"q\"), scope_aliases: {\"a\": \"b\"}, \
         numbered_aliases: {\"1\": (\"c\", \"d\")}, additional_scopes_key: (\"e\"), preferred_username_claims: [\"f\"], \
         verify_aud: (true), require_exp: (false) }",
    ),
    (
        "auth_oauth2.oauth_providers.p.issuer = i\nauth_oauth2.oauth_providers.p.jwks_uri = j\n\
         auth_oauth2.oauth_providers.p.discovery_endpoint_path = d\nauth_oauth2.oauth_providers.p.signing_keys.k = /f\n\
         auth_oauth2.oauth_providers.p.default_key = k\nauth_oauth2.oauth_providers.p.algorithms.1 = ES256\n\
         auth_oauth2.oauth_providers.p.https.cacertfile = /c",
        |c| {
            let provider = c.auth().oauth2.providers["p"].clone();
            format!("{provider:?}").replace("Some", "")
        },
        "Provider { issuer: (\"i\"), jwks_uri: (\"j\"), discovery_path: (\"d\"), signing_keys: {\"k\": \"/f\"}, \
         default_key: (\"k\"), algorithms: [\"ES256\"], cacertfile: (\"/c\") }",
    ),
    (
        "total_memory_available_override_value = 8GB",
        |c| format!("{:?}", c.settings.memory_total_bytes),
        "Some(8000000000)",
    ),
    (
        "rate_limits.users.a.messages_per_second = 1\nrate_limits.users.a.bytes_per_second = 2k\n\
         rate_limits.users.a.connections_per_second = 3",
        |c| format!("{:?}", c.settings.rates.users),
        "{\"a\": Rates { messages: Some(1), bytes: Some(2000), connections: Some(3) }}",
    ),
    (
        "rate_limits.vhosts.v.messages_per_second = 1\nrate_limits.vhosts.v.bytes_per_second = 2\n\
         rate_limits.vhosts.v.connections_per_second = 3",
        |c| format!("{:?}", c.settings.rates.vhosts),
        "{\"v\": Rates { messages: Some(1), bytes: Some(2), connections: Some(3) }}",
    ),
    (
        "management.tcp.max_connections = 3\nmanagement.tcp.max_keepalive = 4\nmanagement.tcp.request_timeout = 5\n\
         management.tcp.idle_timeout = 6\nmanagement.tcp.compress = false",
        |c| http_options(&c.management.plain_options),
        "3 4 5 6 false 1024",
    ),
    (
        "management.ssl.max_connections = 3\nmanagement.ssl.max_keepalive = 4\nmanagement.ssl.request_timeout = 5\n\
         management.ssl.idle_timeout = 6\nmanagement.ssl.compress = false\nmanagement.ssl.backlog = 8",
        |c| http_options(&c.management.tls_options),
        "3 4 5 6 false 8",
    ),
    (
        "prometheus.tcp.max_connections = 3\nprometheus.tcp.max_keepalive = 4\nprometheus.tcp.request_timeout = 5\n\
         prometheus.tcp.idle_timeout = 6\nprometheus.tcp.compress = false",
        |c| http_options(&c.prometheus.plain_options),
        "3 4 5 6 false 1024",
    ),
    (
        "prometheus.ssl.max_connections = 3\nprometheus.ssl.max_keepalive = 4\nprometheus.ssl.request_timeout = 5\n\
         prometheus.ssl.idle_timeout = 6\nprometheus.ssl.compress = false\nprometheus.ssl.backlog = 8",
        |c| http_options(&c.prometheus.tls_options),
        "3 4 5 6 false 8",
    ),
    (
        "management.tcp.max_connections = infinity",
        |c| c.management.plain_options.connections_max.to_string(),
        "18446744073709551615",
    ),
    (
        "prometheus.tcp.listener = none",
        |c| c.prometheus.none.to_string(),
        "true",
    ),
    (
        "prometheus.tcp.listener = 127.0.0.1:7",
        |c| format!("{:?} {:?}", c.prometheus.ip, c.prometheus.port),
        "Some(127.0.0.1) Some(7)",
    ),
    (
        "management.path_prefix = rabbit/mq/",
        |c| c.api.path_prefix.clone(),
        "/rabbit/mq",
    ),
    (
        "management.path_prefix = /",
        |c| c.api.path_prefix.clone(),
        "",
    ),
    (
        "management.http.max_body_size = 5",
        |c| c.api.body_bytes_max.to_string(),
        "5",
    ),
    (
        "management.http.hide_allow_header = true",
        |c| c.api.hide_allow.to_string(),
        "true",
    ),
    (
        "management.http_log_dir = /var/log/x",
        |c| format!("{:?}", c.http_log_dir),
        "Some(\"/var/log/x\")",
    ),
    (
        "http_dispatch.access_log_dir = /var/log/x",
        |c| format!("{:?}", c.http_log_dir),
        "Some(\"/var/log/x\")",
    ),
    (
        "management.load_definitions = /etc/d.json",
        |c| format!("{:?}", c.definitions),
        "Some(\"/etc/d.json\")",
    ),
    (
        "management.disable_basic_auth = true",
        |c| c.api.basic_auth_disabled.to_string(),
        "true",
    ),
    (
        "management.login_session_timeout = 9",
        |c| format!("{:?}", c.api.login_session_timeout_min),
        "Some(9)",
    ),
    (
        "management.restrictions.operator_policy_changes.disabled = true",
        |c| c.api.operator_policies_locked.to_string(),
        "true",
    ),
    (
        "management.cors.allow_origins.2 = http://b\nmanagement.cors.allow_origins.10 = *\nmanagement.cors.allow_origins.1 = http://a",
        |c| c.api.cors_origins.join(" "),
        "http://a http://b *",
    ),
    (
        "management.cors.allow_origins.1 = http://a\nmanagement.cors.allow_origins = none",
        |c| c.api.cors_origins.join(" "),
        "",
    ),
    (
        "management.cors.max_age = 7",
        |c| c.api.cors_age_max_s.to_string(),
        "7",
    ),
    (
        "management.csp.policy = a\nmanagement.hsts.policy = 'b; c'\nmanagement.headers.content_type_options = d\n\
         management.headers.xss_protection = e\nmanagement.headers.frame_options = f\n\
         management.headers.referrer_policy = g",
        |c| {
            let shown = c.api.headers.iter().map(|(header, value)| {
                format!("{header:?}:{}", value.to_str().expect("it is text"))
            });
            shown.collect::<Vec<_>>().join(" ")
        },
        "ContentSecurityPolicy:a StrictTransportSecurity:b; c ContentTypeOptions:d XssProtection:e FrameOptions:f \
         ReferrerPolicy:g",
    ),
    (
        "management.listener.port = 7\nmanagement.listener.ip = ::1\nmanagement.listener.server.max_keepalive = 2\n\
         management.listener.server.request_timeout = 3\nmanagement.listener.server.idle_timeout = 4\n\
         management.listener.server.compress = false",
        |c| {
            let options = http_options(&c.management.plain_options);
            format!("{:?} {:?} {options}", c.management.ip, c.management.port)
        },
        "Some(::1) Some(7) 1024 2 3 4 false 1024",
    ),
    (
        "management.listener.ssl = true\nmanagement.listener.ssl_opts.certfile = /c\nmanagement.listener.ssl_opts.keyfile = /k\n\
         management.listener.ssl_opts.cacertfile = /a\nmanagement.listener.ssl_opts.verify = verify_peer\n\
         management.listener.ssl_opts.fail_if_no_peer_cert = true\nmanagement.listener.ssl_opts.depth = 3\n\
         management.listener.ssl_opts.versions.1 = tlsv1.3",
        |c| {
            let (HttpListen { tls, tls_port, .. }, plain) =
                (&c.management, c.management.is_plain());
            let files = (&tls.certfile, &tls.keyfile, &tls.cacertfile);
            let asked = (tls.verify_peer, tls.fail_if_no_peer_cert, tls.depth);
            format!("{tls_port:?} {plain} {files:?} {asked:?} {}", tls.tls12)
        },
        "Some(15672) false (Some(\"/c\"), Some(\"/k\"), Some(\"/a\")) (true, true, 3) false",
    ),
    (
        "management.listener.port = 7\nmanagement.tcp.port = 8",
        |c| format!("{:?}", c.management.port),
        "Some(8)",
    ),
    ("prometheus.path = /m", |c| c.api.metrics.path.clone(), "/m"),
    (
        "prometheus.return_per_object_metrics = true",
        |c| c.api.metrics.per_object.to_string(),
        "true",
    ),
    (
        "prometheus.authentication.enabled = true",
        |c| c.api.metrics.login_needed.to_string(),
        "true",
    ),
    (
        "management.tcp.port = 1",
        |c| format!("{:?}", c.management.port),
        "Some(1)",
    ),
    (
        "management.tcp.ip = ::1",
        |c| format!("{:?}", c.management.ip),
        "Some(::1)",
    ),
    (
        "management.ssl.port = 2",
        |c| format!("{:?}", c.management.tls_port),
        "Some(2)",
    ),
    (
        "management.ssl.ip = 127.0.0.1",
        |c| format!("{:?}", c.management.tls_ip),
        "Some(127.0.0.1)",
    ),
    (
        "management.ssl.certfile = /c\nmanagement.ssl.keyfile = /k\nmanagement.ssl.cacertfile = /a",
        |c| {
            format!(
                "{:?} {:?} {:?}",
                c.management.tls.certfile, c.management.tls.keyfile, c.management.tls.cacertfile
            )
        },
        "Some(\"/c\") Some(\"/k\") Some(\"/a\")",
    ),
    (
        "management.ssl.verify = verify_peer\nmanagement.ssl.fail_if_no_peer_cert = true\nmanagement.ssl.depth = 3\n\
         management.ssl.versions.1 = tlsv1.3",
        |c| {
            let tls = &c.management.tls;
            format!(
                "{} {} {} {} {}",
                tls.verify_peer, tls.fail_if_no_peer_cert, tls.depth, tls.tls13, tls.tls12
            )
        },
        "true true 3 true false",
    ),
    (
        "prometheus.tcp.port = 1",
        |c| format!("{:?}", c.prometheus.port),
        "Some(1)",
    ),
    (
        "prometheus.tcp.ip = ::1",
        |c| format!("{:?}", c.prometheus.ip),
        "Some(::1)",
    ),
    (
        "prometheus.ssl.port = 2",
        |c| format!("{:?}", c.prometheus.tls_port),
        "Some(2)",
    ),
    (
        "prometheus.ssl.ip = 127.0.0.1",
        |c| format!("{:?}", c.prometheus.tls_ip),
        "Some(127.0.0.1)",
    ),
    (
        "prometheus.ssl.certfile = /c\nprometheus.ssl.keyfile = /k\nprometheus.ssl.cacertfile = /a",
        |c| {
            format!(
                "{:?} {:?} {:?}",
                c.prometheus.tls.certfile, c.prometheus.tls.keyfile, c.prometheus.tls.cacertfile
            )
        },
        "Some(\"/c\") Some(\"/k\") Some(\"/a\")",
    ),
    (
        "prometheus.ssl.verify = verify_peer\nprometheus.ssl.fail_if_no_peer_cert = true\nprometheus.ssl.depth = 3\n\
         prometheus.ssl.versions.1 = tlsv1.3",
        |c| {
            let tls = &c.prometheus.tls;
            format!(
                "{} {} {} {} {}",
                tls.verify_peer, tls.fail_if_no_peer_cert, tls.depth, tls.tls13, tls.tls12
            )
        },
        "true true 3 true false",
    ),
    (
        "log.default.level = error",
        |c| format!("{:?}", c.log.level),
        "Error",
    ),
    (
        "log.connection.level = debug",
        |c| format!("{:?}", c.log.level_of("protocol::amqp091::handshake")),
        "Debug",
    ),
    (
        "log.channel.level = none",
        |c| format!("{:?}", c.log.level_of("protocol::amqp091::publish")),
        "None",
    ),
    (
        "log.queue.level = warning",
        |c| format!("{:?}", c.log.level_of("storage::log")),
        "Warning",
    ),
    (
        "log.user.level = critical",
        |c| format!("{:?}", c.log.level_of("node::identities")),
        "Error",
    ),
    (
        "log.console = false",
        |c| c.log.console.to_string(),
        "false",
    ),
    (
        "log.console.level = debug",
        |c| format!("{:?}", c.log.console_level),
        "Some(Debug)",
    ),
    (
        "log.console.formatter = json",
        |c| c.log.console_json.to_string(),
        "true",
    ),
    (
        "log.console.stdio = stdout",
        |c| c.log.console_stdout.to_string(),
        "true",
    ),
    (
        "log.console.use_colors = on",
        |c| c.log.console_colours.to_string(),
        "true",
    ),
    (
        "log.file = a.log\nlog.dir = /l",
        |c| format!("{:?}", c.log.path(&c.log.file)),
        "Some(\"/l/a.log\")",
    ),
    (
        "log.file = true",
        |c| format!("{:?}", c.log.path(&c.log.file)),
        "Some(\"/var/log/leveret/leveret.log\")",
    ),
    (
        "log.file = ./a.log",
        |c| format!("{:?}", c.log.path(&c.log.file)),
        "Some(\"./a.log\")",
    ),
    (
        "log.file.level = error",
        |c| format!("{:?}", c.log.file_level),
        "Some(Error)",
    ),
    (
        "log.file.formatter = json",
        |c| c.log.file_json.to_string(),
        "true",
    ),
    (
        "log.audit.file = /a",
        |c| format!("{:?}", c.log.path(&c.log.audit)),
        "Some(\"/a\")",
    ),
    (
        "opentelemetry.endpoint = http://collector:4318/",
        |c| format!("{:?}", c.otlp.endpoint),
        "Some(\"http://collector:4318/v1/traces\")",
    ),
    (
        "opentelemetry.endpoint = https://[::1]/otlp/traces",
        |c| format!("{:?}", c.otlp.endpoint),
        "Some(\"https://[::1]/otlp/traces\")",
    ),
    (
        "opentelemetry.enabled = false",
        |c| c.otlp.enabled.to_string(),
        "false",
    ),
    (
        "opentelemetry.protocol = http/protobuf",
        |c| c.otlp.enabled.to_string(),
        "true",
    ),
    (
        "opentelemetry.headers.Api-Key = k",
        |c| format!("{:?}", c.otlp.headers),
        "{\"api-key\": \"k\"}",
    ),
    (
        "opentelemetry.service_name = s",
        |c| format!("{:?}", c.otlp.service_name),
        "Some(\"s\")",
    ),
    (
        "opentelemetry.resource_attributes.deployment\\.environment\\.name = test",
        |c| format!("{:?}", c.otlp.resource_attributes),
        "{\"deployment.environment.name\": \"test\"}",
    ),
    (
        "opentelemetry.sampler = always_on\nopentelemetry.sampler_ratio = 0.5",
        |c| format!("{:?}", c.otlp.sampling),
        "Sampling { parent_based: false, ratio: 1.0, messages_per_second_max: 100 }",
    ),
    (
        "opentelemetry.sampler_ratio = 0.5\nopentelemetry.messages_per_second_max = 7",
        |c| format!("{:?}", c.otlp.sampling),
        "Sampling { parent_based: true, ratio: 0.5, messages_per_second_max: 7 }",
    ),
    (
        "opentelemetry.queue_spans_max = 9",
        |c| c.otlp.queue_spans_max.to_string(),
        "9",
    ),
    (
        "opentelemetry.timeout = 9",
        |c| c.otlp.timeout_ms.to_string(),
        "9",
    ),
    (
        "opentelemetry.cacertfile = /ca.pem",
        |c| format!("{:?}", c.otlp.cacertfile),
        "Some(\"/ca.pem\")",
    ),
];

#[test]
fn every_obeyed_key_does_what_it_says() {
    for (text, outcome, expected) in OBEYED {
        assert_eq!(outcome(&read(text)), *expected, "{text}");
    }
}

#[test]
fn every_obeyed_key_has_a_row() {
    for key in obeyed::all() {
        let has_row = OBEYED.iter().any(|(text, _, _)| {
            text.lines().any(|line| {
                let config = read(line);
                config
                    .statements()
                    .iter()
                    .any(|said| key::fit(key.name, &said.words).is_some())
            })
        });
        assert!(has_row, "{} is obeyed and has no row in OBEYED", key.name);
    }
}

/// The defaults that documents name are the defaults that hold.
#[test]
fn defaults_are_what_the_table_says() {
    for key in obeyed::all().filter(|key| !key.name.contains('$') && !key.default.is_empty()) {
        let default = read(&format!("{} = {}", key.name, show::quoted(key.default)));
        if key.name == "data_dir" {
            continue; // `None` means the default here.
        }
        let bare = |config: Config| {
            let config = Config {
                statements: Vec::new(),
                ..config
            };
            format!("{config:?}")
        };
        assert_eq!(bare(default), bare(Config::default()), "{}", key.name);
    }
}

#[test]
fn wrong_lines_are_named() {
    for (text, expected) in [
        (
            "heartbeat = 60\nhartbeat = 60",
            "rabbitmq.conf:2: unknown key hartbeat; the nearest known one is heartbeat",
        ),
        (
            "heartbeat = often",
            "rabbitmq.conf:1: heartbeat = often: expected a whole number from 0 to 65535",
        ),
        (
            "heartbeat = 65536",
            "rabbitmq.conf:1: heartbeat = 65536: expected a whole number from 0 to 65535",
        ),
        ("heartbeat", "rabbitmq.conf:1: expected KEY = VALUE"),
        (
            "heartbeat = # none",
            "rabbitmq.conf:1: heartbeat: expected a value",
        ),
        (
            "= 1",
            "rabbitmq.conf:1: expected KEY = VALUE, where KEY is words of letters, digits, - and _ with dots \
             between them, and not ",
        ),
        (
            "default pass = 1",
            "rabbitmq.conf:1: expected KEY = VALUE, where KEY is words of letters, digits, - and _ with dots \
             between them, and not default pass",
        ),
        (
            "listeners..default = 1",
            "rabbitmq.conf:1: expected KEY = VALUE, where KEY is words of letters, digits, - and _ with dots \
             between them, and not listeners..default",
        ),
        (
            "default_user = 'a",
            "rabbitmq.conf:1: default_user: the value's closing quote is missing",
        ),
        (
            "default_user = 'a' b",
            "rabbitmq.conf:1: default_user: unexpected text after the closing quote: b",
        ),
        (
            "default_user = '''a\nb",
            "rabbitmq.conf:1: the closing ''' is missing",
        ),
        (
            "listeners.tcp.a = host",
            "rabbitmq.conf:1: listeners.tcp.a = host: expected a port, or HOST:PORT",
        ),
        (
            "listeners.tcp = 5672",
            "rabbitmq.conf:1: listeners.tcp = 5672: expected one of none",
        ),
        (
            "listeners.ftp.a = 1",
            "rabbitmq.conf:1: unknown key listeners.ftp.a; the nearest known one is listeners.tcp.a",
        ),
        (
            "max_connections = many",
            "rabbitmq.conf:1: max_connections = many: expected a whole number or infinity",
        ),
        (
            "max_message_size = 536870913",
            "rabbitmq.conf:1: max_message_size = 536870913: expected a whole number from 1 to 536870912",
        ),
        (
            "frame_max = 100",
            "rabbitmq.conf:1: frame_max = 100: expected 0, or a size from 8192 to 4294967295",
        ),
        (
            "vm_memory_high_watermark.relative = 1.1",
            "rabbitmq.conf:1: vm_memory_high_watermark.relative = 1.1: expected a number from 0 to 1",
        ),
        (
            "vm_memory_high_watermark.absolute = 1 GB",
            "rabbitmq.conf:1: vm_memory_high_watermark.absolute = 1 GB: expected a size: a whole number, or one with \
             a unit such as kB, MB, GB, KiB, MiB, GiB",
        ),
        (
            "vm_memory_high_watermark = 0.4",
            "rabbitmq.conf:1: unknown key vm_memory_high_watermark; the nearest known one is \
             vm_memory_high_watermark.relative",
        ),
        (
            "loopback_users.guest = maybe",
            "rabbitmq.conf:1: loopback_users.guest = maybe: expected true or false",
        ),
        (
            "log.console.level = loud",
            "rabbitmq.conf:1: log.console.level = loud: expected one of debug, info, notice, warning, error, \
             critical, alert, emergency, none",
        ),
        (
            "default_pass = encrypted:x",
            "rabbitmq.conf:1: default_pass = ********: encrypted values cannot be read by this version",
        ),
        (
            "mqtt.prefetch = few",
            "rabbitmq.conf:1: mqtt.prefetch = few: expected a whole number",
        ),
        (
            "cluster_partition_handling = pray",
            "rabbitmq.conf:1: cluster_partition_handling = pray: expected ignore or pause_minority or autoheal or \
             pause_if_all_down",
        ),
        (
            "heartbeat = x\nhandshake_timeout = y",
            "rabbitmq.conf:1: heartbeat = x: expected a whole number from 0 to 65535\n\
             rabbitmq.conf:2: handshake_timeout = y: expected a whole number or infinity",
        ),
        (
            "management.tcp.ip = host",
            "rabbitmq.conf:1: management.tcp.ip = host: expected an IP address",
        ),
        (
            "management.path_prefix = /a b",
            "rabbitmq.conf:1: management.path_prefix = /a b: expected a path of letters, digits, -, ., _ and ~, \
             with / between them",
        ),
        (
            "prometheus.path = /a/../b",
            "rabbitmq.conf:1: prometheus.path = /a/../b: expected a path of letters, digits, -, ., _ and ~, with / \
             between them",
        ),
        (
            "management.hsts.policy = '''a\nb'''",
            "rabbitmq.conf:1: management.hsts.policy = a\nb: expected the text of an HTTP header: one line",
        ),
        (
            "management.http.max_body_size = -1",
            "rabbitmq.conf:1: management.http.max_body_size = -1: expected a whole number from 0 to 1073741824",
        ),
        (
            "management.tcp.idle_timeout = 0",
            "rabbitmq.conf:1: management.tcp.idle_timeout = 0: expected a whole number from 1 to 86400000",
        ),
        (
            "prometheus.tcp.listener = 15692",
            "rabbitmq.conf:1: prometheus.tcp.listener = 15692: expected IP:PORT or none",
        ),
        ("include x", "rabbitmq.conf:1: include is for files"),
    ] {
        assert_eq!(errors(text), expected, "{text}");
    }
}

#[test]
fn what_rabbitmq_knows_is_accepted_with_a_note() {
    let config =
        read("heartbeat = 60\ncluster_formation.dns.hostname = example.org\nmqtt.vhost = /");
    let notes: Vec<_> = config.notes().iter().map(Note::to_string).collect();
    assert_eq!(
        notes,
        [
            "f:2: note: cluster_formation.dns.hostname does nothing: this version runs as a single node",
            "f:3: note: mqtt.vhost does nothing: MQTT is not built yet",
        ]
    );
}

#[test]
fn every_accepted_key_is_accepted() {
    assert!(1000 < accepted::all().len());
    for key in accepted::all() {
        assert!(!key.why.is_empty(), "{}", key.name);
        let words = statement::words(&key.name.replace('$', ""));
        let found = accepted::find(&words).expect("it fits itself");
        assert_eq!(found.why, key.why, "{}", key.name);
    }
}

fn environment(variables: &[(&str, &str)]) -> Sources {
    let owned = variables
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    Sources {
        environment: owned.collect(),
        ..Sources::default()
    }
}

#[test]
fn what_is_said_last_wins() {
    let dir = tempfile::tempdir().expect("there is room");
    let file = dir.path().join("rabbitmq.conf");
    std::fs::create_dir(dir.path().join("conf.d")).expect("there is room");
    std::fs::write(
        &file,
        "heartbeat = 1\nframe_max = 10000\nchannel_max = 1\nlisteners.tcp.1 = 1\nlisteners.tcp.2 = 2\n\
         include more*.conf\ndefault_user = a\n",
    )
    .expect("there is room");
    std::fs::write(
        dir.path().join("more.conf"),
        "frame_max = 20000\nmax_message_size = 5\n",
    )
    .expect("there is room");
    std::fs::write(dir.path().join("conf.d/20.conf"), "heartbeat = 3\n").expect("there is room");
    std::fs::write(
        dir.path().join("conf.d/10.conf"),
        "heartbeat = 2\nmax_channels_per_connection = 2\n",
    )
    .expect("there is room");
    let mut sources = environment(&[
        (
            "RABBITMQ_CONFIG_FILES",
            &dir.path().join("conf.d").display().to_string(),
        ),
        ("RABBITMQ_DEFAULT_USER", "b"),
        ("RABBITMQ_NODE_PORT", "77"),
        ("RABBITMQ_SERVICE_HOST", "10.0.0.1"),
        ("LEVERET_CONFIG", "consumer_timeout = 4"),
    ]);
    sources.file = Some(file.clone());
    sources
        .flags
        .push(("--set", "max_message_size".into(), "6".into()));
    let config = Config::load(&sources).expect("it is right");
    assert_eq!(config.settings.heartbeat_s, 3);
    assert_eq!(config.settings.channel_max, 2);
    assert_eq!(config.settings.frame_bytes_max, 20_000);
    assert_eq!(config.settings.message_bytes_max, 6);
    assert_eq!(config.settings.consumer_timeout_ms.quorum, Some(4));
    assert_eq!(config.settings.identities.default_user, "b");
    assert_eq!(config.listen.amqp.wanted, ["77"]);
    let shown = config.show();
    let file = file.display();
    for line in [
        format!(
            "heartbeat = 3                               # {}/conf.d/20.conf:1",
            dir.path().display()
        ),
        "default_user = b                            # environment variable RABBITMQ_DEFAULT_USER"
            .into(),
        "default_pass = ".into(),
        "max_message_size = 6                        # flag --set".into(),
        "handshake_timeout = 10000                   # default".into(),
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let found = shown
            .lines()
            .any(|shown| squeezed(shown).starts_with(&squeezed(&line)));
        assert!(found, "{line}\n{shown}\n{file}");
    }
    sources
        .flags
        .push(("--amqp", "listeners.tcp.1".into(), "127.0.0.1:0".into()));
    sources
        .flags
        .push(("--amqp", "listeners.tcp.2".into(), "127.0.0.2:0".into()));
    let config = Config::load(&sources).expect("it is right");
    assert_eq!(config.listen.amqp.wanted, ["127.0.0.1:0", "127.0.0.2:0"]);
}

#[test]
fn files_are_named_in_the_order_in_which_they_were_read() {
    let dir = tempfile::tempdir().expect("there is room");
    let dir = dir.path().canonicalize().expect("it is there");
    let write = |name: &str, text: &str| {
        std::fs::write(dir.join(name), text).expect("there is room");
    };
    write("a.conf", "heartbeat = 1\ninclude b.conf\n");
    write("b.conf", "frame_max = 10000\n");
    let sources = Sources {
        file: Some(dir.join("a.conf")),
        ..Sources::default()
    };
    let config = Config::load(&sources).expect("it is right");
    assert_eq!(config.files(), [dir.join("a.conf"), dir.join("b.conf")]);
    let reload = config.reload(&sources).expect("it is right");
    assert_eq!(reload.config.files(), config.files());
    assert!(read("heartbeat = 1").files().is_empty());
}

#[test]
fn the_environment_is_read() {
    let config = Config::load(&environment(&[
        ("RABBITMQ_NODE_IP_ADDRESS", "::1"),
        ("RABBITMQ_DEFAULT_PASS", "p"),
        ("RABBITMQ_DEFAULT_VHOST", "v"),
        ("RABBITMQ_NODENAME", "n@h"),
        ("RABBITMQ_LOG", "debug"),
        ("RABBITMQ_ERLANG_COOKIE", "monster"),
        ("RABBITMQ_DEFAULT_USER", ""),
    ]))
    .expect("it is right");
    assert_eq!(config.listen.amqp.wanted, ["[::1]:5672"]);
    assert_eq!(config.settings.identities.default_password, "p");
    assert_eq!(config.settings.identities.default_user, "guest");
    assert_eq!(config.settings.identities.default_vhost, "v");
    assert_eq!(config.settings.cluster_name, "n@h");
    assert_eq!(config.log.level, Level::Debug);
    assert_eq!(config.notes().len(), 1);
    let errors = Config::load(&environment(&[("RABBITMQ_NODE_PORT", "tcp://10.0.0.1:x")]));
    assert_eq!(
        errors.expect_err("it is no port").to_string(),
        "environment variable RABBITMQ_NODE_PORT: listeners.tcp.default = tcp://10.0.0.1:x: expected a port, or \
         HOST:PORT"
    );
}

#[test]
fn wrong_lines_about_open_telemetry_are_named() {
    for (text, expected) in [
        (
            "opentelemetry.endpoint = collector:4317",
            "rabbitmq.conf:1: opentelemetry.endpoint = collector:4317: expected the URL of an OTLP collector, such as \
             http://localhost:4318",
        ),
        (
            "opentelemetry.endpoint = http://ann:secret@c:4318",
            "rabbitmq.conf:1: opentelemetry.endpoint = http://ann:secret@c:4318: a login belongs into \
             opentelemetry.headers.authorization",
        ),
        (
            "opentelemetry.protocol = grpc",
            "rabbitmq.conf:1: opentelemetry.protocol = grpc: expected one of http/protobuf",
        ),
        (
            "opentelemetry.headers.a = b\u{7f}c",
            "rabbitmq.conf:1: opentelemetry.headers.a = ********: expected the text of an HTTP header: one line",
        ),
        (
            "opentelemetry.sampler = sometimes",
            "rabbitmq.conf:1: opentelemetry.sampler = sometimes: expected one of parentbased_traceidratio, \
             parentbased_always_on, parentbased_always_off, traceidratio, always_on, always_off",
        ),
        (
            "opentelemetry.sampler_ratio = NaN",
            "rabbitmq.conf:1: opentelemetry.sampler_ratio = NaN: expected a number from 0 to 1",
        ),
    ] {
        assert_eq!(errors(text), expected, "{text}");
    }
}

#[test]
fn open_telemetrys_environment_is_read() {
    let load = |variables: &[(&str, &str)]| Config::load(&environment(variables));
    let config = load(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/base/"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, other=c"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "other=d"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "7"),
        ("OTEL_SERVICE_NAME", "orders-broker"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=x,deployment.environment.name=pr%C3%BCf",
        ),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "99"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
    ]);
    let otlp = config.expect("it is right").otlp;
    assert_eq!(
        otlp.endpoint.as_deref(),
        Some("http://c:4318/base/v1/traces")
    );
    let headers = format!("{:?}", otlp.headers);
    assert_eq!(headers, r#"{"api-key": "a b", "other": "d"}"#);
    assert_eq!(otlp.service_name.as_deref(), Some("orders-broker"));
    let environment_name = &otlp.resource_attributes["deployment.environment.name"];
    assert_eq!(environment_name, "pr\u{fc}f");
    assert_eq!((otlp.timeout_ms, otlp.queue_spans_max), (7, 99));
    assert_eq!(
        (otlp.sampling.parent_based, otlp.sampling.ratio),
        (false, 0.25)
    );
    assert!(otlp.enabled);

    let own = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:4318/here"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_SDK_DISABLED", "true"),
    ];
    let otlp = load(&own).expect("it is right").otlp;
    assert_eq!(otlp.endpoint.as_deref(), Some("http://t:4318/here"));
    assert_eq!(
        (otlp.sampling.parent_based, otlp.sampling.ratio),
        (true, 1.0)
    );
    assert!(!otlp.enabled);

    let errors = load(&[("OTEL_EXPORTER_OTLP_HEADERS", "secret")]).expect_err("it is no list");
    assert_eq!(
        errors.to_string(),
        "environment variable OTEL_EXPORTER_OTLP_HEADERS: expected a list of key=value, percent-encoded"
    );
}

#[test]
fn toml_says_the_same() {
    let dir = tempfile::tempdir().expect("there is room");
    let file = dir.path().join("leveret.toml");
    let write = |text: &str| std::fs::write(&file, text).expect("there is room");
    let sources = Sources {
        file: Some(file.clone()),
        ..Sources::default()
    };
    write(
        "heartbeat = 5\n\"log.console.level\" = 'debug'\n[vm_memory_high_watermark]\nrelative = 0.5\n\
         [listeners]\ntcp = [1, \"127.0.0.1:2\"]\n[loopback_users]\n'a\\.b' = true\n",
    );
    let config = Config::load(&sources).expect("it is right");
    assert_eq!(config.settings.heartbeat_s, 5);
    assert_eq!(config.settings.memory_watermark_permille, 500);
    assert_eq!(config.listen.amqp.wanted, ["1", "127.0.0.1:2"]);
    assert_eq!(config.settings.identities.loopback_users, ["guest", "a.b"]);
    let name = file.display();
    for (text, expected) in [
        (
            "heartbeat = 5\n\n[listeners]\ntpc.a = 5\n",
            format!(
                "{name}:4: unknown key listeners.tpc.a; the nearest known one is listeners.tcp.a"
            ),
        ),
        (
            "heartbeat = -1\n",
            format!("{name}:1: heartbeat = -1: expected a whole number from 0 to 65535"),
        ),
        (
            "a = 1\nheartbeat =\n",
            format!("{name}:2: string values must be quoted, expected literal string"),
        ),
    ] {
        write(text);
        let errors = Config::load(&sources).expect_err("it is wrong").to_string();
        assert_eq!(errors, expected, "{text}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let sources = Sources {
        file: Some(PathBuf::from("/nowhere/a.conf")),
        ..Sources::default()
    };
    assert_eq!(
        Config::load(&sources)
            .expect_err("there is none")
            .to_string(),
        "/nowhere/a.conf: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn a_reload_changes_what_may_change() {
    let before = read("heartbeat = 1\nframe_max = 10000\ncluster_name = a\nmqtt.vhost = a\n");
    let dir = tempfile::tempdir().expect("there is room");
    let file = dir.path().join("a.conf");
    let sources = Sources {
        file: Some(file.clone()),
        ..Sources::default()
    };
    std::fs::write(
        &file,
        "heartbeat = 2\ncluster_name = b\nmqtt.vhost = b\nmax_connections = 3\n",
    )
    .expect("there is room");
    let reload = before.reload(&sources).expect("it is right");
    assert_eq!(
        reload.changed,
        ["heartbeat", "max_connections", "frame_max"]
    );
    assert_eq!(reload.needs_restart, ["cluster_name"]);
    let settings = &reload.config.settings;
    assert_eq!((settings.heartbeat_s, settings.connections_max), (2, 3));
    assert_eq!(
        (settings.frame_bytes_max, settings.cluster_name.as_str()),
        (131_072, "a")
    );
    // The key that needs a restart is still different the next time.
    let again = reload.config.reload(&sources).expect("it is right");
    assert_eq!((again.changed.len(), again.needs_restart.len()), (0, 1));
    std::fs::write(&file, "heartbeat = x\n").expect("there is room");
    assert!(before.reload(&sources).is_err());
}

/// RabbitMQ's old keys of the management listener are read anew, too.
#[test]
fn a_reload_finds_other_certificates_under_old_and_new_keys() {
    let dir = tempfile::tempdir().expect("there is room");
    let file = dir.path().join("rabbitmq.conf");
    let write = |name: &str| {
        let text = format!(
            "management.listener.port = 15671\nmanagement.listener.ssl = true\n\
             management.listener.ssl_opts.certfile = /{name}\nmanagement.listener.ssl_opts.keyfile = /k\n\
             prometheus.ssl.certfile = /{name}\nprometheus.ssl.keyfile = /k\n"
        );
        std::fs::write(&file, text).expect("there is room");
    };
    let sources = Sources {
        file: Some(file.clone()),
        ..Sources::default()
    };
    write("old.pem");
    let config = Config::load(&sources).expect("it is right");
    write("new.pem");
    let reload = config.reload(&sources).expect("it is right");
    let new = Some(PathBuf::from("/new.pem"));
    assert_eq!(reload.config.management.tls.certfile, new);
    assert_eq!(reload.config.prometheus.tls.certfile, new);
    assert_eq!(reload.needs_restart, [""; 0]);
}

#[test]
fn configuration_document_is_the_table() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/user/configuration.md"
    );
    let wanted = document();
    if std::env::var_os("LEVERET_WRITE_DOCS").is_some() {
        std::fs::write(path, &wanted).expect("the document can be written");
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        there == wanted,
        "docs/user/configuration.md is not what the table says: \
         LEVERET_WRITE_DOCS=1 cargo nextest run -p server configuration_document"
    );
}

#[test]
fn wrong_lines_about_logins_are_named() {
    for (text, expected) in [
        (
            "auth_backends.1 = ldaps",
            "rabbitmq.conf:1: auth_backends.1 = ldaps: expected one of internal, oauth2, http, ldap, cache",
        ),
        (
            "auth_http.http_method = put",
            "rabbitmq.conf:1: auth_http.http_method = put: expected one of get, post",
        ),
        (
            "auth_http.connection_timeout = 0",
            "rabbitmq.conf:1: auth_http.connection_timeout = 0: expected a whole number from 1 to 3600000",
        ),
        (
            "auth_http.authorization_failure_disclosure = perhaps",
            "rabbitmq.conf:1: auth_http.authorization_failure_disclosure = perhaps: expected true or false",
        ),
        (
            "auth_http.ssl_options.verify = verify",
            "rabbitmq.conf:1: auth_http.ssl_options.verify = verify: expected one of verify_peer, verify_none",
        ),
        (
            "auth_ldap.port = 0",
            "rabbitmq.conf:1: auth_ldap.port = 0: expected a whole number from 1 to 65535",
        ),
        (
            "auth_ldap.connection_pool_size = 0",
            "rabbitmq.conf:1: auth_ldap.connection_pool_size = 0: expected a whole number from 1 to 10000",
        ),
        (
            "auth_ldap.timeout = 0",
            "rabbitmq.conf:1: auth_ldap.timeout = 0: expected a whole number from 1 to 86400000, or infinity",
        ),
        (
            "auth_ldap.idle_timeout = long",
            "rabbitmq.conf:1: auth_ldap.idle_timeout = long: expected a whole number or infinity",
        ),
        (
            "auth_ldap.log = loud",
            "rabbitmq.conf:1: auth_ldap.log = loud: expected one of true, false, network, network_unsafe",
        ),
        (
            "auth_ldap.other_bind = root",
            "rabbitmq.conf:1: auth_ldap.other_bind = root: expected one of as_user, anon",
        ),
        (
            "auth_ldap.queries.tags = {constant, true}",
            "rabbitmq.conf:1: auth_ldap.queries.tags = {constant, true}: expected a list of tags and queries: \
             [{administrator, {constant, false}}]",
        ),
        (
            "auth_ldap.queries.vhost_access = {exist, \"a\"}",
            "rabbitmq.conf:1: auth_ldap.queries.vhost_access = {exist, \"a\"}: there is no query exist",
        ),
        (
            "auth_ldap.queries.topic_access = {constant, true",
            "rabbitmq.conf:1: auth_ldap.queries.topic_access = {constant, true: expected , or } at character 16",
        ),
    ] {
        assert_eq!(errors(text), expected, "{text}");
    }
}
