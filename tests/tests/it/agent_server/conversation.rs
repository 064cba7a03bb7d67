//! Conversations with an agent.

use apptainer::agent_server::{AgentServer, AgentServerError};

/// That there is a model to be asked is not needed for what is asked here.
pub(super) async fn are_kept_and_told(server: &AgentServer) {
    let body = serde_json::json!({
        "agent_settings": {
            "llm": {"usage_id": "test", "model": "openai/none", "api_key": "none"},
        },
    });
    let conversation = server.start_conversation(body).await.unwrap();
    let info = conversation.info().await.unwrap();
    assert_eq!(info["workspace"]["working_dir"], "/workspace", "{info}");
    conversation
        .send_message("Say nothing.", false)
        .await
        .unwrap();
    let is_said = |event: &apptainer::agent_server::ConversationEvent| {
        let rest = serde_json::to_string(&event.rest).unwrap();
        event.kind == "MessageEvent" && event.source == "user" && rest.contains("Say nothing.")
    };
    let events = conversation.events().await.unwrap();
    let said = events.iter().find(|event| is_said(event)).unwrap();
    assert!(!said.id.is_empty() && !said.timestamp.is_empty());
    let mut following = conversation.follow().await.unwrap();
    loop {
        let event = following.next().await.unwrap().unwrap();
        if is_said(&event) {
            assert_eq!(event.id, said.id);
            break;
        }
    }
    conversation.pause().await.unwrap();
    let same = server.conversation(conversation.id());
    same.delete().await.unwrap();
    let error = conversation.info().await.unwrap_err();
    assert!(
        matches!(error, AgentServerError::Status { status: 404, .. }),
        "{error}"
    );
    let error = server.start_conversation(1.into()).await.unwrap_err();
    assert!(matches!(error, AgentServerError::Input { .. }), "{error}");
}
