//! The description of the API for machines, made from the route table and the bodies in `wire`.
//!
//! It is checked in as `openapi.json` so that a change of the API is seen in a review; a test compares.

use crate::{Gives, Need, ROUTES, Route, Takes};
use axum::http::Method;
use std::collections::BTreeMap;
use tidings_domain::account::Scope;
use tidings_domain::media::LISTED_MAX;
use tidings_wire::body::Kind;
use utoipa::PartialSchema as _;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::security::{
    ClientCredentials, Flow, Http, HttpAuthScheme, OAuth2, Scopes, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, KnownFormat, ObjectBuilder, OpenApi, OpenApiBuilder, Paths, Ref,
    RefOr, Required, ResponseBuilder, Schema, SchemaFormat, Type,
};

/// The whole description.
pub(crate) fn describe() -> OpenApi {
    let mut schemas: Vec<(String, RefOr<Schema>)> = Vec::new();
    let mut paths = Paths::new();
    for route in ROUTES.iter().filter(|route| route.listed) {
        let operation = operation(route, &mut schemas);
        paths.add_path_operation(route.path, vec![method(&route.method)], operation);
    }
    add::<tidings_wire::error::Problem<'static>>(&mut schemas);
    let scopes = Scope::ALL.map(|scope| (scope.as_str(), scope.as_str()));
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas.into_iter().collect::<BTreeMap<_, _>>())
        .security_scheme(
            "token",
            SecurityScheme::Http({
                let mut http = Http::new(HttpAuthScheme::Bearer);
                http.description = Some("A token of this installation: `tid_live_…` or `tid_test_…`.".into());
                http
            }),
        )
        .security_scheme(
            "oauth2",
            SecurityScheme::OAuth2(OAuth2::new([Flow::ClientCredentials(ClientCredentials::new(
                "/oauth/token",
                Scopes::from_iter(scopes),
            ))])),
        )
        .build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Tidings")
                .version("1")
                .description(Some(
                    "Sends text messages and tells what becomes of them. Every refusal is a problem (RFC 9457) \
                     with a stable code; each code has a page at /errors/CODE.",
                ))
                .build(),
        )
        .paths(paths)
        .components(Some(components))
        .build()
}

/// The description as it is served and checked in.
pub(crate) fn text() -> String {
    let mut text = describe().to_pretty_json().expect("a description is JSON");
    text.push('\n');
    text
}

/// Adds a schema and those inside it, and gives its name.
pub(crate) fn add<T: utoipa::ToSchema>(all: &mut Vec<(String, RefOr<Schema>)>) -> String {
    let name = T::name().into_owned();
    all.push((name.clone(), T::schema()));
    T::schemas(all);
    name
}

/// Adds the schema of a list, whose name is the list's and the item's.
pub(crate) fn add_named<T: utoipa::ToSchema>(
    all: &mut Vec<(String, RefOr<Schema>)>,
    prefix: &str,
    item: &str,
) -> String {
    let name = format!("{prefix}{item}");
    all.push((name.clone(), T::schema()));
    T::schemas(all);
    name
}

fn method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

/// What a part of an address is: the place of something among others, or an id or name.
fn part_schema(part: &str) -> RefOr<Schema> {
    match part {
        "place" => ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::Integer))
            .minimum(Some(1.0))
            .maximum(Some(LISTED_MAX as f64))
            .into(),
        _ => String::schema(),
    }
}

fn operation(route: &Route, schemas: &mut Vec<(String, RefOr<Schema>)>) -> OperationBuilder {
    let words = route.path.split(['/', '.', '-']).filter(|part| !part.is_empty() && *part != "v1");
    let words: Vec<_> = words.map(|part| part.trim_matches(['{', '}'])).collect();
    let id = format!("{}_{}", route.method.as_str().to_lowercase(), words.join("_"));
    let mut operation =
        OperationBuilder::new().tag(route.tag).summary(Some(route.summary)).operation_id(Some(id));
    for part in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(part)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(part_schema(part))),
        );
    }
    for field in route.query {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(field.name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(field.about))
                .schema(Some(field.schema())),
        );
    }
    if route.replayable {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name("Idempotency-Key")
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(
                    "1 to 255 visible characters. A repeat with the same key and body gets the first answer again, \
                     marked with Idempotency-Replayed.",
                ))
                .schema(Some(String::schema())),
        );
    }
    if let Gives::File = route.gives {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name("If-None-Match")
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some("The ETag of what the caller has already: 304 if that is it."))
                .schema(Some(String::schema())),
        );
        let known = ResponseBuilder::new().description("The caller has it: `If-None-Match` names its ETag");
        operation = operation.response("304", known);
    }
    if let Takes::Json(shape) | Takes::MaybeJson(shape) = route.takes {
        shape.schema(schemas);
        for field in shape.fields {
            if let Kind::Bodies(inner) = field.kind {
                inner.schema(schemas);
            }
        }
        let required = if matches!(route.takes, Takes::Json(_)) { Required::True } else { Required::False };
        let content = Content::new(Some(Ref::from_schema_name(shape.name)));
        let body = RequestBodyBuilder::new().content("application/json", content).required(Some(required));
        operation = operation.request_body(Some(body.build()));
    }
    if let Takes::File(kind) = route.takes {
        let content = Content::new(Some(String::schema()));
        let body = RequestBodyBuilder::new().content(kind, content).required(Some(Required::True));
        operation = operation.request_body(Some(body.build()));
    }
    let response = match route.gives {
        Gives::Nothing => ResponseBuilder::new().description("Done"),
        Gives::Json(add) => {
            let content = Content::new(Some(Ref::from_schema_name(add(schemas))));
            ResponseBuilder::new().description("Done").content("application/json", content)
        }
        Gives::Other(kind) => {
            ResponseBuilder::new().description("Done").content(kind, Content::new(Some(String::schema())))
        }
        Gives::File => {
            let octets = ObjectBuilder::new()
                .schema_type(SchemaType::new(Type::String))
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
            ResponseBuilder::new().description("Done").content("*/*", Content::new(Some(octets)))
        }
    };
    operation = operation.response(route.status.to_string(), response);
    let problem = ResponseBuilder::new()
        .description("A problem")
        .content("application/problem+json", Content::new(Some(Ref::from_schema_name("Problem"))));
    operation = operation.response("default", problem);
    match route.need {
        Need::Nothing => operation,
        Need::Token => operation.security(SecurityRequirement::new("token", [""; 0])),
        Need::Scope(scope) => operation
            .security(SecurityRequirement::new("token", [""; 0]))
            .security(SecurityRequirement::new("oauth2", [scope.as_str()]))
            .description(Some(format!("Needs the scope `{}`.", scope.as_str()))),
    }
}
