//! Requests that change users and what they may do.

use std::fmt::Display;

use metadata::identity::{HashingAlgorithm, PasswordHash, Permissions, TopicPermissions};
use node::catalog::Ticket;
use node::identities::{IdentityError, NewPassword};

use super::answer::{Answer, Broker};
use super::protocol::{Failure, Password, Request};

impl Broker {
    /// Carries out a request of this module's; others are the caller's mistake and refused.
    pub(super) fn change_identities(&self, request: Request) -> Result<Answer, Failure> {
        let identities = &self.node.identities;
        let ticket = match request {
            Request::AddUser { user, password } => self.add_user(&user, password)?,
            Request::DeleteUser { user } => {
                let ticket = identities.delete_user(&user)?;
                let text = format!("user '{user}' is deleted");
                self.node
                    .connections
                    .force_close(&text, |entry| *entry.user == *user);
                ticket
            }
            Request::ChangePassword { user, password } => {
                identities.change_password(&user, NewPassword::Clear(password.0.as_bytes()))?
            }
            Request::ClearPassword { user } => {
                identities.change_password(&user, NewPassword::None)?
            }
            Request::AuthenticateUser { user, password } => {
                // Whoever asks is on this machine.
                let outcome = identities.authenticate(&user, password.0.as_bytes(), true);
                outcome.map_err(|failure| Failure::Refused(failure.to_string()))?;
                Ticket::NONE
            }
            Request::SetUserTags { user, tags } => identities.set_tags(&user, tags)?,
            Request::ClearPermissions { vhost, user } => {
                identities.clear_permissions(&user, &vhost)
            }
            Request::ClearTopicPermissions {
                vhost,
                user,
                exchange,
            } => identities.clear_topic_permissions(&user, &vhost, exchange.as_deref()),
            request => self.set_permissions(request)?,
        };
        Ok(Answer::done(ticket))
    }

    fn add_user(&self, user: &str, password: Password) -> Result<Ticket, Failure> {
        let password = match &password {
            Password::Clear(text) => NewPassword::Clear(text.0.as_bytes()),
            Password::Hash(text) => {
                let hash = PasswordHash::from_base64(&text.0).map_err(invalid)?;
                NewPassword::Hashed(hash, HashingAlgorithm::DEFAULT)
            }
        };
        let added = self.node.identities.add_user(user, password, Vec::new());
        Ok(added?)
    }

    fn set_permissions(&self, request: Request) -> Result<Ticket, Failure> {
        let identities = &self.node.identities;
        match request {
            Request::SetPermissions {
                vhost,
                user,
                configure,
                write,
                read,
            } => {
                let permissions = Permissions::parse(&configure, &write, &read).map_err(invalid)?;
                self.check_user(&user)?;
                let vhost = self.vhost(&vhost)?;
                Ok(identities.set_permissions(&user, &vhost.name, permissions)?)
            }
            Request::SetTopicPermissions {
                vhost,
                user,
                exchange,
                write,
                read,
            } => {
                let permissions =
                    TopicPermissions::parse(exchange.as_str(), &write, &read).map_err(invalid)?;
                self.check_user(&user)?;
                let vhost = self.vhost(&vhost)?;
                if vhost.find_exchange(&exchange).is_err() {
                    return Err(Failure::NoSuchExchange(exchange));
                }
                Ok(identities.set_topic_permissions(&user, &vhost.name, permissions)?)
            }
            other => Err(Failure::Invalid(format!("{other:?} is about no user"))),
        }
    }

    fn check_user(&self, name: &str) -> Result<(), Failure> {
        match self.node.identities.user(name) {
            Some(_) => Ok(()),
            None => Err(Failure::NoSuchUser(name.to_owned())),
        }
    }
}

fn invalid(error: impl Display) -> Failure {
    Failure::Invalid(error.to_string())
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Failure {
        match error {
            IdentityError::UserExists(user) => Failure::UserExists(user),
            IdentityError::NoSuchUser(user) => Failure::NoSuchUser(user),
            error @ (IdentityError::EmptyName
            | IdentityError::TooManyTags
            | IdentityError::Pattern(_)) => invalid(error),
        }
    }
}
