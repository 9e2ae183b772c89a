//! Reading a definitions document.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Definitions, DefinitionsError, PasswordDefinition, UserDefinition, VhostDefinition};
use crate::identity::{HashingAlgorithm, PasswordHash, Permissions, TopicPermissions, VhostSpec};
use crate::json;
use crate::limit::UserLimits;
use crate::parameter::Parameter;
use crate::policy::{Policy, PolicyKind, unknown_settings};
use crate::topology::{BindingSpec, Destination, ExchangeSpec, Name, QueueSpec};

/// Keys of the document itself.
const KEYS: [&str; 21] = [
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "original_vhost_name",
    "explanation",
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
    "metadata",
    "description",
    "limits",
];

type Read<T> = Result<T, DefinitionsError>;

impl Definitions {
    /// Reads a document: of a whole broker, or of the vhost `vhost`, in which all is put that is in it.
    ///
    /// # Errors
    /// If it is no such document, or an item in it is wrong.
    pub fn parse(document: &Value, vhost: Option<&str>) -> Read<Definitions> {
        let Value::Object(document) = document else {
            return Err(DefinitionsError("definitions are not a JSON object".into()));
        };
        let mut reader = Reader {
            vhost: vhost.map(Name::from),
            old_hashes: has_md5_hashes(document),
            out: Definitions::default(),
        };
        for key in document.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            reader.warn(format!("unknown key '{key}' was ignored"));
        }
        if vhost.is_none() {
            reader.each(document, "users", Reader::user)?;
            reader.each(document, "vhosts", Reader::vhost)?;
            reader.each(document, "permissions", Reader::permissions)?;
            reader.each(document, "topic_permissions", Reader::topic_permissions)?;
            reader.each(document, "global_parameters", Reader::global_parameter)?;
        }
        reader.each(document, "parameters", Reader::parameter)?;
        reader.each(document, "policies", Reader::policy)?;
        reader.each(document, "exchanges", Reader::exchange)?;
        reader.each(document, "queues", Reader::queue)?;
        reader.each(document, "bindings", Reader::binding)?;
        Ok(reader.out)
    }
}

/// Before 3.6.0 a hash was MD5, and no algorithm was named.
fn has_md5_hashes(document: &Map<String, Value>) -> bool {
    let version = ["rabbitmq_version", "rabbit_version"]
        .iter()
        .find_map(|key| document.get(*key)?.as_str());
    let Some(version) = version else { return false };
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < (3, 6),
        _ => false,
    }
}

struct Reader {
    /// Where everything belongs, if the document is one vhost's.
    vhost: Option<Name>,
    old_hashes: bool,
    out: Definitions,
}

/// One item of a list, with what it is called in messages.
struct Item<'a> {
    what: String,
    fields: &'a Map<String, Value>,
}

impl<'a> Item<'a> {
    fn error(&self, text: impl std::fmt::Display) -> DefinitionsError {
        DefinitionsError(format!("{}: {text}", self.what))
    }

    /// A field that is there and not null.
    fn find(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Read<&'a str> {
        let missing = || self.error(format!("'{key}' is missing"));
        self.optional_text(key)?.ok_or_else(missing)
    }

    fn optional_text(&self, key: &str) -> Read<Option<&'a str>> {
        match self.find(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.error(format!("'{key}' is no text"))),
        }
    }

    /// A name of a queue, exchange or vhost: no longer than AMQP can say it.
    fn name(&self, key: &str) -> Read<Name> {
        let text = self.text(key)?;
        match text.len() {
            0..=255 => Ok(text.into()),
            _ => Err(self.error(format!("'{key}' is longer than 255 bytes"))),
        }
    }

    fn switch(&self, key: &str, default: bool) -> Read<bool> {
        match self.find(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(self.error(format!("'{key}' is neither true nor false"))),
        }
    }

    /// An object; RabbitMQ writes an empty one as a list at times.
    fn object(&self, key: &str) -> Read<Option<Map<String, Value>>> {
        match self.find(key) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object.clone())),
            Some(Value::Array(items)) if items.is_empty() => Ok(Some(Map::new())),
            Some(_) => Err(self.error(format!("'{key}' is no object"))),
        }
    }

    fn arguments(&self) -> Read<wire::amqp091::table::FieldTable> {
        let object = self.object("arguments")?.unwrap_or_default();
        json::to_table(&object).map_err(|error| self.error(format!("'arguments': {error}")))
    }

    /// Words in a list, or apart by commas.
    fn words(&self, key: &str) -> Read<Vec<String>> {
        let wrong = || self.error(format!("'{key}' is no list of texts"));
        match self.find(key) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => {
                let words = text.split(',').map(str::trim);
                Ok(words.filter(|w| !w.is_empty()).map(str::to_owned).collect())
            }
            Some(Value::Array(items)) => {
                let text = |item: &Value| item.as_str().map(str::to_owned).ok_or_else(wrong);
                items.iter().map(text).collect()
            }
            Some(_) => Err(wrong()),
        }
    }
}

impl Reader {
    fn warn(&mut self, text: String) {
        self.out.warnings.push(text);
    }

    fn each(
        &mut self,
        document: &Map<String, Value>,
        list: &str,
        read: impl Fn(&mut Self, &Item<'_>) -> Read<()>,
    ) -> Read<()> {
        let items = match document.get(list) {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(DefinitionsError(format!("'{list}' is no list"))),
        };
        for (at, item) in items.iter().enumerate() {
            let Value::Object(fields) = item else {
                return Err(DefinitionsError(format!(
                    "'{list}': item {at} is no object"
                )));
            };
            let what = describe(list, at, fields);
            read(self, &Item { what, fields })?;
        }
        Ok(())
    }

    /// Warns of fields that mean nothing here.
    fn only(&mut self, item: &Item<'_>, known: &[&str]) {
        let unknown = item
            .fields
            .keys()
            .filter(|key| !known.contains(&key.as_str()));
        for key in unknown {
            self.warn(format!("{}: unknown key '{key}' was ignored", item.what));
        }
    }

    fn vhost_of(&self, item: &Item<'_>) -> Read<Name> {
        match &self.vhost {
            Some(vhost) => Ok(Arc::clone(vhost)),
            None if item.find("vhost").is_none() => Err(item.error(
                "it has no virtual host. Definitions of one virtual host are imported into one",
            )),
            None => item.name("vhost"),
        }
    }

    fn user(&mut self, item: &Item<'_>) -> Read<()> {
        self.only(
            item,
            &[
                "name",
                "password_hash",
                "hashing_algorithm",
                "tags",
                "limits",
                "password",
                "permissions",
                "administrator",
            ],
        );
        let name = item.name("name")?;
        let limits = item.object("limits")?;
        if let Some(limits) = &limits {
            UserLimits::parse(&limits.clone().into())
                .map_err(|e| item.error(e.lines().join("; ")))?;
        }
        let mut tags = item.words("tags")?;
        if item.find("tags").is_none() && item.switch("administrator", false)? {
            tags.push(crate::identity::TAG_ADMINISTRATOR.to_owned());
        }
        let password = self.password(item)?;
        for (vhost, permissions) in item.object("permissions")?.unwrap_or_default() {
            let field = |key: &str| {
                permissions
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let parsed = Permissions::parse(field("configure"), field("write"), field("read"));
            let parsed = parsed.map_err(|error| item.error(error))?;
            self.out
                .permissions
                .push((vhost.into(), Arc::clone(&name), parsed));
        }
        self.out.users.push(UserDefinition {
            name,
            password,
            tags,
            limits,
        });
        Ok(())
    }

    fn password(&mut self, item: &Item<'_>) -> Read<PasswordDefinition> {
        let hash = item.optional_text("password_hash")?;
        let clear = item.optional_text("password")?;
        let (hash, clear) = match (hash, clear) {
            (Some(_), Some(_)) => {
                return Err(item.error("both 'password' and 'password_hash' are given"));
            }
            (None, Some(clear)) => (None, Some(clear)),
            (hash, None) => (hash.filter(|hash| !hash.is_empty()), None),
        };
        if let Some(clear) = clear {
            return Ok(PasswordDefinition::Clear(clear.to_owned()));
        }
        let Some(hash) = hash else {
            return Ok(PasswordDefinition::None);
        };
        let algorithm = match item.optional_text("hashing_algorithm")? {
            None if self.old_hashes => Some(HashingAlgorithm::Md5),
            None => Some(HashingAlgorithm::DEFAULT),
            Some(name) => HashingAlgorithm::parse(name),
        };
        let Some(algorithm) = algorithm else {
            let text = format!(
                "{}: the password was left out: its hashing algorithm is not known",
                item.what
            );
            self.warn(text);
            return Ok(PasswordDefinition::None);
        };
        let hash = PasswordHash::from_base64(hash);
        let hash = hash.map_err(|error| item.error(format!("'password_hash': {error}")))?;
        Ok(PasswordDefinition::Hash(hash, algorithm))
    }

    fn vhost(&mut self, item: &Item<'_>) -> Read<()> {
        self.only(
            item,
            &[
                "name",
                "description",
                "tags",
                "metadata",
                "limits",
                "tracing",
                "default_queue_type",
                "protected_from_deletion",
            ],
        );
        let metadata = item.object("metadata")?.unwrap_or_default();
        let metadata = Item {
            what: item.what.clone(),
            fields: &metadata,
        };
        let either = |key: &str| match item.optional_text(key)? {
            Some(text) => Ok(Some(text.to_owned())),
            None => Ok(metadata.optional_text(key)?.map(str::to_owned)),
        };
        let tags = match item.find("tags") {
            Some(_) => item.words("tags")?,
            None => metadata.words("tags")?,
        };
        // `undefined` is Erlang's word for none, which some releases wrote out.
        let kind = either("default_queue_type")?;
        let kind = kind.filter(|kind| !kind.is_empty() && kind != "undefined");
        let protected = item.switch("protected_from_deletion", false)?
            || metadata.switch("protected_from_deletion", false)?;
        let spec = VhostSpec {
            description: either("description")?.unwrap_or_default(),
            tags,
            default_queue_type: kind,
            tracing: item.switch("tracing", false)?,
            protected_from_deletion: protected,
            ..VhostSpec::named(item.name("name")?)
        };
        let limits = vhost_limits(item)?;
        self.out.vhosts.push(VhostDefinition { spec, limits });
        Ok(())
    }

    fn permissions(&mut self, item: &Item<'_>) -> Read<()> {
        self.only(item, &["vhost", "user", "configure", "write", "read"]);
        let [configure, write, read] = [
            item.text("configure")?,
            item.text("write")?,
            item.text("read")?,
        ];
        let parsed = Permissions::parse(configure, write, read);
        let parsed = parsed.map_err(|error| item.error(error))?;
        let (vhost, user) = (self.vhost_of(item)?, item.name("user")?);
        self.out.permissions.push((vhost, user, parsed));
        Ok(())
    }

    fn topic_permissions(&mut self, item: &Item<'_>) -> Read<()> {
        self.only(item, &["vhost", "user", "exchange", "write", "read"]);
        let exchange = item.name("exchange")?;
        let parsed = TopicPermissions::parse(exchange, item.text("write")?, item.text("read")?);
        let parsed = parsed.map_err(|error| item.error(error))?;
        let (vhost, user) = (self.vhost_of(item)?, item.name("user")?);
        self.out.topic_permissions.push((vhost, user, parsed));
        Ok(())
    }

    fn parameter(&mut self, item: &Item<'_>) -> Read<()> {
        self.only(item, &["vhost", "component", "name", "value"]);
        let parameter = Parameter {
            component: item.name("component")?,
            name: item.name("name")?,
            value: item.fields.get("value").cloned().unwrap_or_default(),
        };
        let vhost = self.vhost_of(item)?;
        self.out.parameters.push((vhost, parameter));
        Ok(())
    }

    fn global_parameter(&mut self, item: &Item<'_>) -> Read<()> {
        self.only(item, &["name", "value"]);
        let value = item.fields.get("value").cloned().unwrap_or_default();
        self.out.global_parameters.push((item.name("name")?, value));
        Ok(())
    }

    /// A policy without the settings that this release does not have: mirroring, which RabbitMQ 4 has not either,
    /// and what belongs to plugins.
    fn policy(&mut self, item: &Item<'_>) -> Read<()> {
        self.only(
            item,
            &[
                "vhost",
                "name",
                "pattern",
                "definition",
                "priority",
                "apply-to",
            ],
        );
        let mut definition = item.object("definition")?.unwrap_or_default();
        let unknown = unknown_settings(PolicyKind::User, &definition);
        for key in &unknown {
            definition.remove(key);
            self.warn(format!("{}: the setting '{key}' was left out", item.what));
        }
        if definition.is_empty() && !unknown.is_empty() {
            self.warn(format!(
                "{}: nothing is left of it, so it was left out",
                item.what
            ));
            return Ok(());
        }
        let mut value = Map::new();
        value.insert("definition".into(), definition.into());
        value.insert(
            "priority".into(),
            item.find("priority").cloned().unwrap_or(0.into()),
        );
        for key in ["pattern", "apply-to"] {
            if let Some(field) = item.find(key) {
                value.insert(key.into(), field.clone());
            }
        }
        value.entry("apply-to").or_insert_with(|| "all".into());
        let name = item.name("name")?;
        let policy = Policy::parse(PolicyKind::User, &name, &value.into());
        let policy = policy.map_err(|error| item.error(error.lines().join("; ")))?;
        let vhost = self.vhost_of(item)?;
        self.out.policies.push((vhost, policy));
        Ok(())
    }

    fn exchange(&mut self, item: &Item<'_>) -> Read<()> {
        self.only(
            item,
            &[
                "vhost",
                "name",
                "type",
                "durable",
                "auto_delete",
                "internal",
                "arguments",
                "policy",
            ],
        );
        let spec = ExchangeSpec {
            name: item.name("name")?,
            kind: item.text("type")?.to_owned(),
            durable: item.switch("durable", true)?,
            auto_delete: item.switch("auto_delete", false)?,
            internal: item.switch("internal", false)?,
            arguments: item.arguments()?,
        };
        if is_predeclared(&spec.name) {
            return self.pass_over(item);
        }
        let vhost = self.vhost_of(item)?;
        self.out.exchanges.push((vhost, spec));
        Ok(())
    }

    /// Does nothing with what the broker has by itself.
    fn pass_over(&mut self, item: &Item<'_>) -> Read<()> {
        self.warn(format!(
            "{}: a name of the broker's own was passed over",
            item.what
        ));
        Ok(())
    }

    fn queue(&mut self, item: &Item<'_>) -> Read<()> {
        self.only(
            item,
            &[
                "vhost",
                "name",
                "type",
                "durable",
                "auto_delete",
                "exclusive",
                "arguments",
                "policy",
            ],
        );
        let spec = QueueSpec {
            name: item.name("name")?,
            durable: item.switch("durable", true)?,
            // Its connection is long gone.
            exclusive: false,
            auto_delete: item.switch("auto_delete", false)?,
            arguments: item.arguments()?,
        };
        if spec.name.is_empty() || spec.name.starts_with("amq.") {
            return self.pass_over(item);
        }
        let vhost = self.vhost_of(item)?;
        self.out.queues.push((vhost, spec));
        Ok(())
    }

    fn binding(&mut self, item: &Item<'_>) -> Read<()> {
        self.only(
            item,
            &[
                "vhost",
                "source",
                "destination",
                "destination_type",
                "routing_key",
                "arguments",
                "properties_key",
            ],
        );
        let destination = item.name("destination")?;
        let destination = match item.text("destination_type")? {
            "queue" => Destination::Queue(destination),
            "exchange" => Destination::Exchange(destination),
            _ => return Err(item.error("'destination_type' is neither queue nor exchange")),
        };
        let spec = BindingSpec {
            source: item.name("source")?,
            destination,
            routing_key: item
                .optional_text("routing_key")?
                .unwrap_or_default()
                .into(),
            arguments: item.arguments()?,
        };
        if spec.source.is_empty() {
            // Every queue is bound to the default exchange by itself.
            return Ok(());
        }
        let vhost = self.vhost_of(item)?;
        self.out.bindings.push((vhost, spec));
        Ok(())
    }
}

fn is_predeclared(exchange: &str) -> bool {
    exchange.is_empty() || exchange.starts_with("amq.")
}

/// Limits as an object (4.x), or as a list of names and values (3.x).
fn vhost_limits(item: &Item<'_>) -> Read<Map<String, Value>> {
    let limits = match item.find("limits") {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|limit| {
                let name = limit.get("name")?.as_str()?;
                Some((name.to_owned(), limit.get("value")?.clone()))
            })
            .collect(),
        _ => item.object("limits")?.unwrap_or_default(),
    };
    crate::limit::VhostLimits::parse(&limits.clone().into())
        .map_err(|error| item.error(error.lines().join("; ")))?;
    Ok(limits)
}

/// `queue 'q' in vhost '/'`, or which item of the list it is.
fn describe(list: &str, at: usize, fields: &Map<String, Value>) -> String {
    let field = |key: &str| fields.get(key).and_then(Value::as_str);
    let what = match list {
        "policies" => "policy",
        list => list.trim_end_matches('s'),
    };
    let name = match (field("name"), field("source"), field("user")) {
        (Some(name), ..) => name.to_owned(),
        (None, Some(source), _) => {
            format!("{source}' -> '{}", field("destination").unwrap_or_default())
        }
        (None, None, Some(user)) => user.to_owned(),
        _ => return format!("{what} {at}"),
    };
    match field("vhost") {
        Some(vhost) => format!("{what} '{name}' in vhost '{vhost}'"),
        None => format!("{what} '{name}'"),
    }
}
