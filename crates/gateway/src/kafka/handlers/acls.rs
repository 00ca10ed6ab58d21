//! CreateAcls, DescribeAcls and DeleteAcls (KIP-140, KIP-290).
//!
//! Owns: Kafka's numbers in requests and answers, which of them can be kept.
//! Does not own: the bindings and what they mean (access).
//! Invariants: each binding and each filter of a request succeeds or fails alone, and is answered in its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::access::{Binding, Filter, FilterPattern, Operation, Pattern, Permission, ResourceKind};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use kafka_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use kafka_protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::super::{Broker, errors};
use super::text;

/// ANY in a filter.
const ANY: i8 = 1;

/// Code and message of what was refused.
type Refusal = (Code, String);

pub(super) async fn create(broker: Arc<Broker>, request: CreateAclsRequest) -> CreateAclsResponse {
    let read: Vec<Result<Binding, String>> = request.creations.iter().map(binding).collect();
    let good: Vec<Binding> = read.iter().filter_map(|one| one.as_ref().ok()).cloned().collect();
    let added = changed(&broker, move |access| access.add(&good)).await;
    let results = read.into_iter().map(|one| {
        let outcome = one.map_err(|message| (Code::InvalidRequest, message)).and_then(|_| added.clone());
        let (code, message) = answer(outcome.err());
        AclCreationResult::default().with_error_code(code).with_error_message(message)
    });
    CreateAclsResponse::default().with_results(results.collect())
}

/// Makes a change off the threads that serve connections: it waits for the disk.
async fn changed<T: Send + 'static>(
    broker: &Broker,
    change: impl FnOnce(::access::Access) -> Result<T, ::access::AccessError> + Send + 'static,
) -> Result<T, Refusal> {
    let access = broker.access.clone();
    match super::off_thread(move || change(access)).await {
        Ok(outcome) => outcome.map_err(|e| (errors::access(&e), base::fault::chain(&e))),
        Err(_) => Err((Code::UnknownServerError, "the request failed".to_owned())),
    }
}

fn answer(refusal: Option<Refusal>) -> (i16, Option<StrBytes>) {
    refusal.map_or((errors::NONE, None), |(code, message)| (code.code(), Some(text(message))))
}

fn binding(wanted: &AclCreation) -> Result<Binding, String> {
    let unknown = |what: &str, code: i8| format!("{what} {code} is none that an ACL can have");
    let binding = Binding {
        kind: ResourceKind::from_code(wanted.resource_type)
            .ok_or_else(|| unknown("resource type", wanted.resource_type))?,
        name: wanted.resource_name.to_string(),
        pattern: Pattern::from_code(wanted.resource_pattern_type)
            .ok_or_else(|| unknown("pattern type", wanted.resource_pattern_type))?,
        principal: wanted.principal.to_string(),
        host: wanted.host.to_string(),
        operation: Operation::from_code(wanted.operation)
            .ok_or_else(|| unknown("operation", wanted.operation))?,
        permission: Permission::from_code(wanted.permission_type)
            .ok_or_else(|| unknown("permission type", wanted.permission_type))?,
    };
    binding.check().map(|()| binding)
}

/// The same fields in the filters of both requests.
struct Asked<'a> {
    kind: i8,
    name: Option<&'a StrBytes>,
    pattern: i8,
    principal: Option<&'a StrBytes>,
    host: Option<&'a StrBytes>,
    operation: i8,
    permission: i8,
}

impl Asked<'_> {
    fn filter(&self) -> Result<Filter, String> {
        fn number<T>(
            what: &str,
            code: i8,
            from_code: impl FnOnce(i8) -> Option<T>,
        ) -> Result<Option<T>, String> {
            if code == ANY {
                return Ok(None);
            }
            from_code(code).map(Some).ok_or_else(|| format!("{what} {code} is none that an ACL can have"))
        }
        let pattern = FilterPattern::from_code(self.pattern);
        Ok(Filter {
            kind: number("resource type", self.kind, ResourceKind::from_code)?,
            name: self.name.map(|name| name.to_string()),
            pattern: pattern.ok_or_else(|| format!("pattern type {} is none of a filter", self.pattern))?,
            principal: self.principal.map(|principal| principal.to_string()),
            host: self.host.map(|host| host.to_string()),
            operation: number("operation", self.operation, Operation::from_code)?,
            permission: number("permission type", self.permission, Permission::from_code)?,
        })
    }
}

pub(super) async fn describe(broker: Arc<Broker>, request: DescribeAclsRequest) -> DescribeAclsResponse {
    let asked = Asked {
        kind: request.resource_type_filter,
        name: request.resource_name_filter.as_ref(),
        pattern: request.pattern_type_filter,
        principal: request.principal_filter.as_ref(),
        host: request.host_filter.as_ref(),
        operation: request.operation,
        permission: request.permission_type,
    };
    let filter = match asked.filter() {
        Ok(filter) => filter,
        Err(message) => {
            return DescribeAclsResponse::default()
                .with_error_code(Code::InvalidRequest.code())
                .with_error_message(Some(text(message)));
        }
    };
    let mut resources: BTreeMap<(ResourceKind, String, Pattern), Vec<AclDescription>> = BTreeMap::new();
    for binding in broker.access.bindings(&filter) {
        let described = AclDescription::default()
            .with_principal(text(binding.principal))
            .with_host(text(binding.host))
            .with_operation(binding.operation.code())
            .with_permission_type(binding.permission.code());
        resources.entry((binding.kind, binding.name, binding.pattern)).or_default().push(described);
    }
    let resources = resources.into_iter().map(|((kind, name, pattern), acls)| {
        DescribeAclsResource::default()
            .with_resource_type(kind.code())
            .with_resource_name(text(name))
            .with_pattern_type(pattern.code())
            .with_acls(acls)
    });
    DescribeAclsResponse::default().with_error_message(None).with_resources(resources.collect())
}

pub(super) async fn delete(broker: Arc<Broker>, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let filters: Vec<Result<Filter, String>> = request
        .filters
        .iter()
        .map(|wanted| {
            let asked = Asked {
                kind: wanted.resource_type_filter,
                name: wanted.resource_name_filter.as_ref(),
                pattern: wanted.pattern_type_filter,
                principal: wanted.principal_filter.as_ref(),
                host: wanted.host_filter.as_ref(),
                operation: wanted.operation,
                permission: wanted.permission_type,
            };
            asked.filter()
        })
        .collect();
    let good: Vec<Filter> = filters.iter().filter_map(|one| one.as_ref().ok()).cloned().collect();
    let gone = changed(&broker, move |access| access.remove(&good)).await;
    let mut gone = gone.map(Vec::into_iter);
    let results = filters.into_iter().map(|filter| {
        let outcome = match (filter, &mut gone) {
            (Err(message), _) => Err((Code::InvalidRequest, message)),
            (Ok(_), Ok(gone)) => Ok(gone.next().unwrap_or_default()),
            (Ok(_), Err(refusal)) => Err(refusal.clone()),
        };
        match outcome {
            Ok(gone) => DeleteAclsFilterResult::default()
                .with_error_message(None)
                .with_matching_acls(gone.into_iter().map(matching).collect()),
            Err((code, message)) => DeleteAclsFilterResult::default()
                .with_error_code(code.code())
                .with_error_message(Some(text(message))),
        }
    });
    DeleteAclsResponse::default().with_filter_results(results.collect())
}

fn matching(binding: Binding) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl::default()
        .with_error_message(None)
        .with_resource_type(binding.kind.code())
        .with_resource_name(text(binding.name))
        .with_pattern_type(binding.pattern.code())
        .with_principal(text(binding.principal))
        .with_host(text(binding.host))
        .with_operation(binding.operation.code())
        .with_permission_type(binding.permission.code())
}
