//! Asking a directory what a query wants to know.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use ldap3::{Scope, ldap_escape};

use super::directory::{SearchError, Session};
use super::fill::Variables;
use super::query::{Depth, Query, Value, equals, fits};

/// Groups that are looked at for one question of membership through other groups.
const GROUPS_MAX: usize = 1000;

/// eldap must have a filter, and every entry fits this one.
const ANY: &str = "(objectClass=*)";

/// What a query is asked about.
pub(super) struct Asked<'a> {
    pub(super) variables: &'a Variables,
    /// The user's distinguished name.
    pub(super) user_dn: &'a str,
    /// Where groups are.
    pub(super) groups_base: Option<&'a str>,
    /// Whether each step is told.
    pub(super) log: bool,
}

type Evaluating<'a> = Pin<Box<dyn Future<Output = Result<Value, SearchError>> + Send + 'a>>;

impl Asked<'_> {
    /// What the query comes to.
    ///
    /// # Errors
    /// If the connection is dead.
    pub(super) fn evaluate<'a>(
        &'a self,
        query: &'a Query,
        session: &'a mut Session,
    ) -> Evaluating<'a> {
        Box::pin(async move {
            let value = self.evaluate_one(query, session).await?;
            if self.log {
                tracing::info!("    LDAP evaluated {query:?}: {value:?}");
            }
            Ok(value)
        })
    }

    async fn evaluate_one(
        &self,
        query: &Query,
        session: &mut Session,
    ) -> Result<Value, SearchError> {
        Ok(match query {
            Query::Constant(yes) => Value::Bool(*yes),
            Query::For(cases) => return self.evaluate_for(cases, session).await,
            Query::Exists(dn) => {
                let dn = self.variables.fill_dn(dn);
                exists(session, &dn, ANY).await?
            }
            Query::InGroup { dn, attribute } => {
                let dn = self.variables.fill_dn(dn);
                exists(session, &dn, &is(attribute, self.user_dn)).await?
            }
            Query::InGroupNested {
                dn,
                attribute,
                depth,
            } => {
                let dn = self.variables.fill_dn(dn);
                self.in_group(session, &dn, attribute, *depth).await?
            }
            Query::Not(query) => match self.evaluate(query, session).await? {
                Value::Bool(yes) => Value::Bool(!yes),
                other => other,
            },
            Query::And(queries) => {
                let mut value = Value::Bool(true);
                for query in queries {
                    if !value.is_true() {
                        // What is not true before the last one is false, whatever it is.
                        return Ok(Value::Bool(false));
                    }
                    value = self.evaluate(query, session).await?;
                }
                value
            }
            Query::Or(queries) => {
                let mut value = Value::Bool(false);
                for query in queries {
                    value = self.evaluate(query, session).await?;
                    if value.is_true() {
                        break;
                    }
                }
                value
            }
            Query::Equals(a, b) => {
                let a = self.evaluate(a, session).await?;
                equals(&a, &self.evaluate(b, session).await?)
            }
            Query::Match(text, pattern) => {
                let text = self.evaluate(text, session).await?;
                fits(&text, &self.evaluate(pattern, session).await?)
            }
            Query::Text(pattern) => Value::Texts(vec![self.variables.fill(pattern)]),
            Query::Attribute { dn, attribute } => {
                let dn = self.variables.fill_dn(dn);
                attribute_of(session, &dn, attribute).await?
            }
        })
    }

    async fn evaluate_for(
        &self,
        cases: &[(String, String, Query)],
        session: &mut Session,
    ) -> Result<Value, SearchError> {
        for (variable, value, query) in cases {
            match self.variables.find(variable) {
                None => return Ok(Value::Error("args_do_not_contain".into())),
                Some(found) if found == value => return self.evaluate(query, session).await,
                Some(_) => {}
            }
        }
        Ok(Value::Error("for_query_incomplete".into()))
    }

    /// Whether the user is a member of a group, or of one that is a member of it, and so on.
    async fn in_group(
        &self,
        session: &mut Session,
        group: &str,
        attribute: &str,
        depth: Depth,
    ) -> Result<Value, SearchError> {
        let Some(base) = self.groups_base else {
            return Ok(Value::Error("no_group_lookup_base".into()));
        };
        let scope = match depth {
            Depth::Subtree => Scope::Subtree,
            Depth::OneLevel => Scope::OneLevel,
        };
        let mut seen = BTreeSet::new();
        let mut waiting = vec![self.user_dn.to_owned()];
        while let Some(member) = waiting.pop() {
            if GROUPS_MAX < seen.len() || !seen.insert(member.to_lowercase()) {
                continue;
            }
            let filter = is(attribute, &member);
            let groups = match session.search(base, scope, &filter, "1.1").await {
                Err(SearchError::Closed) => return Err(SearchError::Closed),
                Err(SearchError::Refused(why)) => {
                    tracing::warn!("LDAP: groups of {member} cannot be searched for: {why}");
                    continue;
                }
                Ok(groups) => groups,
            };
            let found = group.to_lowercase();
            if groups
                .iter()
                .any(|parent| parent.dn.to_lowercase() == found)
            {
                return Ok(Value::Bool(true));
            }
            waiting.extend(groups.into_iter().map(|parent| parent.dn));
        }
        Ok(Value::Bool(false))
    }
}

/// A filter for entries with this value.
pub(super) fn is(attribute: &str, value: &str) -> String {
    format!("({attribute}={})", ldap_escape(value))
}

async fn exists(session: &mut Session, dn: &str, filter: &str) -> Result<Value, SearchError> {
    let found = session.search(dn, Scope::Base, filter, "objectClass").await;
    match found {
        Ok(entries) => Ok(Value::Bool(!entries.is_empty())),
        Err(error) => refused(error),
    }
}

/// What the directory refuses is a value: `and` takes it for false, and `or` goes on.
fn refused(error: SearchError) -> Result<Value, SearchError> {
    match error {
        SearchError::Closed => Err(SearchError::Closed),
        SearchError::Refused(why) => Ok(Value::Error(why)),
    }
}

async fn attribute_of(
    session: &mut Session,
    dn: &str,
    attribute: &str,
) -> Result<Value, SearchError> {
    let entries = match session.search(dn, Scope::Subtree, ANY, attribute).await {
        Ok(entries) => entries,
        Err(error) => return refused(error),
    };
    let values = entries.iter().map(|entry| entry.values(attribute));
    let found = values.into_iter().find(|values| !values.is_empty());
    Ok(match found {
        Some(values) => Value::Texts(values.to_vec()),
        None => Value::Error("not_found".into()),
    })
}
