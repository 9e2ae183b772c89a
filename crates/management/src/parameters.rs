//! Runtime parameters of vhosts, and those of the whole broker.

use metadata::parameter::Parameter;
use metadata::topology::Name;

use crate::access::Guard::{Policymaker, VhostPolicymaker};
use crate::answer::Answer;
use crate::call::Call;
use crate::failure::Failure;
use crate::json::Object;
use crate::pages;
use crate::routes::{Field, Route, delete, get, list, put, required, route};

const VALUE: &[Field] = &[required("value", "")];

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/parameters",
        &[list(Policymaker, list_all, "List runtime parameters")],
    ),
    route(
        "/api/parameters/{component}",
        &[list(Policymaker, list_all, "List a component's parameters")],
    ),
    route(
        "/api/parameters/{component}/{vhost}",
        &[list(
            VhostPolicymaker,
            list_all,
            "List a component's parameters in a vhost",
        )],
    ),
    route(
        "/api/parameters/{component}/{vhost}/{name}",
        &[
            get(VhostPolicymaker, show, "Show a parameter"),
            put(VhostPolicymaker, set, "Set a parameter").taking(VALUE),
            delete(VhostPolicymaker, clear, "Clear a parameter"),
        ],
    ),
    route(
        "/api/global-parameters",
        &[list(
            Policymaker,
            list_global,
            "List parameters of the whole broker",
        )],
    ),
    route(
        "/api/global-parameters/{name}",
        &[
            get(
                Policymaker,
                show_global,
                "Show a parameter of the whole broker",
            ),
            put(
                Policymaker,
                set_global,
                "Set a parameter of the whole broker",
            )
            .taking(VALUE),
            delete(
                Policymaker,
                clear_global,
                "Clear a parameter of the whole broker",
            ),
        ],
    ),
];

fn object(vhost: &Name, parameter: &Parameter) -> Object {
    Object::new()
        .with("value", parameter.value.clone())
        .with("vhost", vhost)
        .with("component", &parameter.component)
        .with("name", &parameter.name)
}

fn list_all(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = match call.try_param("vhost") {
        Some(_) => Some(call.vhost()?),
        None => None,
    };
    let vhost = vhost.as_ref().map(|vhost| &*vhost.name);
    let component = call.try_param("component");
    let parameters = call.api.node.parameters(vhost);
    let seen = parameters.iter().filter(|(vhost, parameter)| {
        call.sees_vhost(vhost) && component.is_none_or(|wanted| *parameter.component == *wanted)
    });
    pages::answer(call, seen.map(|(vhost, p)| object(vhost, p)).collect())
}

fn find(call: &Call<'_>) -> Result<(Name, Parameter), Failure> {
    let vhost = call.vhost()?;
    let (component, name) = (call.param("component"), call.param("name"));
    let parameters = call.api.node.parameters(Some(&vhost.name));
    let mut found = parameters.into_iter();
    let found = found.find(|(_, p)| *p.component == *component && *p.name == *name);
    found.ok_or_else(Failure::no_object)
}

fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let (vhost, parameter) = find(call)?;
    Ok(pages::one(call, object(&vhost, &parameter)))
}

fn set(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = call.object_with(&["value"])?;
    let vhost = call.vhost_named_in_passing()?;
    let (component, name) = (call.param("component"), call.param("name"));
    let value = body.get("value").cloned().unwrap_or_default();
    let new = find(call).is_err();
    let node = &call.api.node;
    let ticket = node.set_parameter(call.act(), &vhost.name, component, name, &value)?;
    Ok(Answer::created_if(new).when(ticket))
}

fn clear(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let (component, name) = (call.param("component"), call.param("name"));
    let node = &call.api.node;
    let ticket = node.clear_parameter(call.act(), &vhost.name, component, name)?;
    Ok(Answer::done().when(ticket))
}

fn list_global(call: &Call<'_>) -> Result<Answer, Failure> {
    let parameters = call.api.node.global_parameters().into_iter();
    let objects =
        parameters.map(|(name, value)| Object::new().with("name", name).with("value", value));
    pages::answer(call, objects.collect())
}

fn show_global(call: &Call<'_>) -> Result<Answer, Failure> {
    let name = call.param("name");
    let value = call.api.node.global_parameter(name);
    let value = value.ok_or_else(Failure::no_object)?;
    let object = Object::new()
        .with("value", value)
        .with("name", name.to_owned());
    Ok(pages::one(call, object))
}

fn set_global(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = call.object_with(&["value"])?;
    let name = call.param("name");
    let value = body.get("value").cloned().unwrap_or_default();
    let node = &call.api.node;
    let new = node.global_parameter(name).is_none();
    let ticket = node.set_global_parameter(call.act(), name, value);
    Ok(Answer::created_if(new).when(ticket))
}

fn clear_global(call: &Call<'_>) -> Result<Answer, Failure> {
    let node = &call.api.node;
    let ticket = node.clear_global_parameter(call.act(), call.param("name"))?;
    Ok(Answer::done().when(ticket))
}
