//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup.
//!
//! Owns: the checks that come before a group is looked up, waiting for its answer.
//! Does not own: what a group does with a request (`crate::groups::classic`).

use tokio::sync::oneshot;

use super::*;

/// Longest name in a record of groups: lengths have two bytes there.
const NAME_BYTES_MAX: usize = i16::MAX as usize;

pub(super) fn check_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), GroupError> {
    match names.into_iter().find(|name| name.len() > NAME_BYTES_MAX) {
        None => Ok(()),
        Some(long) => Err(GroupError::InvalidRequest(format!(
            "a name of {} bytes, {NAME_BYTES_MAX} are taken",
            long.len()
        ))),
    }
}

/// Waits for the group's answer, and for what it rests on.
async fn wait<T>(answer: oneshot::Receiver<Answer<Result<T, GroupError>>>) -> Result<T, GroupError> {
    let ended = |_| GroupError::CoordinatorNotAvailable("the group coordinator has ended".into());
    let (outcome, gate) = answer.await.map_err(ended)?;
    if let (Ok(_), Some(gate)) = (&outcome, gate) {
        gate.await?;
    }
    outcome
}

impl Groups {
    /// JoinGroup. Resolves when the group's next generation begins, which takes as long as its slowest member.
    /// Dropping the future does not take the request back.
    pub async fn join(&self, request: JoinGroup) -> Result<Joined, JoinRefused> {
        let member = request.member.clone();
        let refused = |error| JoinRefused { error, member };
        if let Err(error) = self.check_join(&request) {
            return Err(refused(error));
        }
        if let Err(error) = self.ready().await {
            return Err(refused(error));
        }
        let (waiter, answer) = oneshot::channel();
        {
            let shared = self.shared();
            let mut state = shared.groups.state.lock();
            // Who has an id has it from a group.
            let created = state.get_or_create(shared, &request.group, request.member.is_empty());
            if let Err(error) = created {
                let unknown = matches!(error, GroupError::GroupIdNotFound(_));
                return Err(refused(if unknown { GroupError::UnknownMemberId } else { error }));
            }
            if let Err(error) = state.make_classic(shared, &request.group) {
                return Err(refused(error));
            }
            let ticket = state.ticket(Waiter::Join(waiter));
            let mut step = Step::new(shared.group_now(), self.settings());
            let group = state.groups.get_mut(request.group.as_str());
            if let Some(classic) = group.and_then(|group| group.machine.classic()) {
                classic.join(&mut step, &request, ticket);
            }
            state.settle(shared, &request.group, step);
        }
        let ended = || GroupError::CoordinatorNotAvailable("the group coordinator has ended".into());
        match answer.await {
            Err(_) => Err(refused(ended())),
            Ok((Ok(joined), Some(gate))) => match gate.await {
                Ok(()) => Ok(joined),
                Err(error) => Err(JoinRefused { error, member: joined.member }),
            },
            Ok((outcome, _)) => outcome,
        }
    }

    fn check_join(&self, request: &JoinGroup) -> Result<(), GroupError> {
        if request.group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let (min, max) = (self.settings().session_timeout_min, self.settings().session_timeout_max);
        let got = request.session_timeout_ms;
        let session = u64::try_from(got).map(Duration::from_millis);
        if !session.is_ok_and(|session| (min..=max).contains(&session)) {
            return Err(GroupError::InvalidSessionTimeout {
                got,
                min: min.as_millis(),
                max: max.as_millis(),
            });
        }
        let names = [&request.group, &request.member, &request.protocol_type, &request.client.id];
        let protocols = request.protocols.iter().map(|(name, _)| name);
        check_names(names.into_iter().chain(&request.instance).chain(protocols).map(String::as_str))
    }

    /// SyncGroup. Resolves when the leader has sent the assignments and they are durable.
    /// Dropping the future does not take the request back.
    pub async fn sync(&self, request: SyncGroup) -> Result<Synced, GroupError> {
        if request.group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let (waiter, answer) = oneshot::channel();
        {
            let shared = self.shared();
            let mut state = shared.groups.state.lock();
            let known = state.groups.get_mut(request.group.as_str());
            if known.and_then(|group| group.machine.classic()).is_none() {
                return Err(GroupError::UnknownMemberId);
            }
            let ticket = state.ticket(Waiter::Sync(waiter));
            let mut step = Step::new(shared.group_now(), self.settings());
            let group = state.groups.get_mut(request.group.as_str());
            if let Some(classic) = group.and_then(|group| group.machine.classic()) {
                classic.sync(&mut step, &request, ticket);
            }
            state.settle(shared, &request.group, step);
        }
        wait(answer).await
    }

    /// Heartbeat.
    pub fn heartbeat(&self, group: &str, who: &Identity) -> Result<(), GroupError> {
        if group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let shared = self.shared();
        let mut state = shared.groups.state.lock();
        let found = state.groups.get_mut(group).and_then(|group| group.machine.classic());
        let found = found.ok_or(GroupError::UnknownMemberId)?;
        let step = Step::new(shared.group_now(), self.settings());
        let outcome = found.heartbeat(&step, who);
        state.settle(shared, group, step);
        outcome
    }

    /// LeaveGroup: one outcome for each that leaves. Resolves once what it changed is durable.
    pub async fn leave(
        &self,
        group: &str,
        leaving: &[Leaving],
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        if group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let (outcomes, gate) = {
            let shared = self.shared();
            let mut state = shared.groups.state.lock();
            let found = state.groups.get_mut(group).and_then(|group| group.machine.classic());
            let Some(found) = found else {
                return Ok(leaving.iter().map(|_| Err(GroupError::UnknownMemberId)).collect());
            };
            let mut step = Step::new(shared.group_now(), self.settings());
            let outcomes = found.leave(&mut step, leaving);
            state.settle(shared, group, step);
            (outcomes, state.groups.get(group).and_then(|g| g.gate.clone()))
        };
        if let Some(gate) = gate {
            gate.await?;
        }
        Ok(outcomes)
    }
}
