//! Which steps of a wish would cost nothing, because the same was bought before.

use std::collections::HashMap;

use genvid_runtime::manifest::Need as AvatarNeed;

use super::{
    input::{JobInput, VideoInput},
    model::{Step, StepKind, StepSource, StepStatus},
    plan::PlannedStep,
    requests::{self, Materials, PaidRequest},
    reuse,
    service::Service,
};
use crate::{
    adapters::sql,
    ids::{ProjectId, StepId, UserId},
    providers::Provider,
};

impl Service {
    /// Whose results the steps of a plan would take over as things are now. What follows from a
    /// result that is not there yet cannot be foreseen, nor a film whose speaker is chosen when it
    /// is made.
    pub(super) async fn foresee(
        &self,
        owner: UserId,
        project: Option<ProjectId>,
        input: &JobInput,
        plan: &[PlannedStep],
    ) -> Result<HashMap<StepKind, StepSource>, sql::Error> {
        let mut sources: Vec<Step> = Vec::new();
        if !input.reuse() {
            return Ok(HashMap::new());
        }
        for planned in plan {
            let first = planned.route.candidates.first();
            let Some(provider) = first.and_then(|id| self.registry.find(id)) else {
                break;
            };
            let materials = Materials::of(&sources);
            let key = request(planned.kind, input, &materials, &provider).and_then(|request| {
                reuse::key(owner, project, provider.manifest(), &request, &materials)
            });
            let Some(key) = key else { break };
            let database = self.database.for_user(owner);
            let alike = database.steps_like(owner, StepId::generate(), &key).await?;
            let done = alike
                .into_iter()
                .find(|step| step.status == StepStatus::Succeeded);
            let Some(done) = done else { break };
            sources.push(done);
        }
        Ok(sources
            .into_iter()
            .map(|step| {
                let source = StepSource {
                    job: step.job,
                    step: step.id,
                };
                (step.kind, source)
            })
            .collect())
    }
}

fn request(
    kind: StepKind,
    input: &JobInput,
    materials: &Materials<'_>,
    provider: &Provider,
) -> Option<PaidRequest> {
    let manifest = provider.manifest();
    match (kind, input) {
        (StepKind::Script, _) => requests::script_request(input, manifest),
        (StepKind::Voice, _) => requests::voice_request(input, materials, manifest),
        (StepKind::Video, JobInput::Video(video)) if !needs_speaker(video, provider) => {
            requests::video_request(video, materials, manifest, None)
        }
        _ => None,
    }
}

/// Whether somebody has to be chosen to speak in the film, as the user chose nobody.
pub(super) fn needs_speaker(video: &VideoInput, provider: &Provider) -> bool {
    let manifest = provider.manifest();
    let chosen = video
        .avatar
        .as_ref()
        .is_some_and(|item| item.provider == manifest.id);
    let pictures = video.images.len() + video.product.images.len();
    let needed = manifest
        .video
        .as_ref()
        .is_some_and(|film| match film.avatar {
            AvatarNeed::Required => true,
            // Somebody has to speak: a picture will do.
            AvatarNeed::Optional => pictures == 0 || film.max_images == 0,
            AvatarNeed::Unsupported => false,
        });
    needed && !chosen
}
