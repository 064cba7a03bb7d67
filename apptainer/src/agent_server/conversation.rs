//! Conversations with agents.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::http::Http;
use super::socket::Socket;
use super::wire::Success;
use super::{AgentServer, AgentServerError};

const LISTENING: &str = "listen to a conversation";

/// A conversation that a server has with an agent.
///
/// A handle: dropped, it leaves the conversation as it is.
#[derive(Debug, Clone)]
pub struct Conversation {
    server: AgentServer,
    id: Uuid,
}

/// Something that happened in a conversation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ConversationEvent {
    /// Its number.
    #[serde(default)]
    pub id: String,
    /// What kind of event it is: `MessageEvent`, `ActionEvent`.
    #[serde(default)]
    pub kind: String,
    /// Of whom it is: `user`, `agent`, `environment`.
    #[serde(default)]
    pub source: String,
    /// When, as RFC 3339 has it, in the server's time where no zone is told.
    #[serde(default)]
    pub timestamp: String,
    /// All that there is besides.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Started {
    id: Uuid,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<ConversationEvent>,
    next_page_id: Option<String>,
}

impl AgentServer {
    /// Begins a conversation, in the working directory unless `body` has a `workspace`.
    ///
    /// `body` is an object as the server wants it, with its agent: `agent_settings`, `agent` or
    /// `agent_profile_id`.
    pub async fn start_conversation(
        &self,
        mut body: Value,
    ) -> Result<Conversation, AgentServerError> {
        const DOING: &str = "start a conversation";
        let Some(fields) = body.as_object_mut() else {
            return Err(AgentServerError::Input {
                doing: DOING,
                reason: "its description is not an object".to_owned(),
            });
        };
        if !fields.contains_key("workspace") {
            let path = self.text(DOING, self.working_dir())?;
            let workspace = json!({"kind": "LocalWorkspace", "working_dir": path});
            fields.insert("workspace".to_owned(), workspace);
        }
        let http = &self.shared.http;
        let request = http.post("api/conversations").json(&body);
        let started: Started = http.json(DOING, request).await?;
        Ok(self.conversation(started.id))
    }

    /// The conversation of this number, which is not asked for.
    pub fn conversation(&self, id: Uuid) -> Conversation {
        Conversation {
            server: self.clone(),
            id,
        }
    }
}

impl Conversation {
    /// Its number.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// All that the server has to say of it. Cancel-safe.
    pub async fn info(&self) -> Result<Value, AgentServerError> {
        let request = self.http().get(&self.path(""));
        self.http().json("ask for a conversation", request).await
    }

    /// Says something to the agent, which begins to work on it if `runs`.
    pub async fn send_message(
        &self,
        text: impl Into<String>,
        runs: bool,
    ) -> Result<(), AgentServerError> {
        let text = text.into();
        let body = json!({
            "role": "user",
            "content": [{"type": "text", "text": text}],
            "run": runs,
        });
        self.post("send a message", "/events", &body).await
    }

    /// Has the agent work, in the background.
    pub async fn run(&self) -> Result<(), AgentServerError> {
        self.post("run a conversation", "/run", &json!({})).await
    }

    /// Has the agent halt after its current step.
    pub async fn pause(&self) -> Result<(), AgentServerError> {
        self.post("pause a conversation", "/pause", &json!({}))
            .await
    }

    /// Removes it, with all that was said.
    pub async fn delete(&self) -> Result<(), AgentServerError> {
        let http = self.http();
        let request = http.request(reqwest::Method::DELETE, &self.path(""));
        let _: Success = http.json("delete a conversation", request).await?;
        Ok(())
    }

    /// All that has happened in it, from its beginning on. Cancel-safe.
    pub async fn events(&self) -> Result<Vec<ConversationEvent>, AgentServerError> {
        let mut events = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut request = self.http().get(&self.path("/events/search"));
            request = request.query(&[("limit", "100"), ("sort_order", "TIMESTAMP")]);
            if let Some(page) = &next {
                request = request.query(&[("page_id", page)]);
            }
            let page: Page = self.http().json("ask for events", request).await?;
            events.extend(page.items);
            match page.next_page_id {
                Some(id) if next.as_ref() != Some(&id) => next = Some(id),
                _ => return Ok(events),
            }
        }
    }

    /// What has happened in it, and what happens.
    pub async fn follow(&self) -> Result<ConversationEvents, AgentServerError> {
        let path = format!("sockets/events/{}?resend_mode=all", self.id);
        let socket = Socket::open(self.http(), LISTENING, &path).await?;
        Ok(ConversationEvents { socket })
    }

    fn http(&self) -> &Http {
        &self.server.shared.http
    }

    fn path(&self, rest: &str) -> String {
        format!("api/conversations/{}{rest}", self.id)
    }

    async fn post(
        &self,
        doing: &'static str,
        rest: &str,
        body: &Value,
    ) -> Result<(), AgentServerError> {
        let request = self.http().post(&self.path(rest)).json(body);
        let _: Success = self.http().json(doing, request).await?;
        Ok(())
    }
}

/// What happens in a conversation: from [`Conversation::follow`].
#[derive(Debug)]
pub struct ConversationEvents {
    socket: Socket,
}

impl ConversationEvents {
    /// The next event; `None` where the server has ended it. Cancel-safe.
    ///
    /// What happens while it begins may be told twice, with the same number.
    pub async fn next(&mut self) -> Result<Option<ConversationEvent>, AgentServerError> {
        let Some(text) = self.socket.next(LISTENING).await? else {
            return Ok(None);
        };
        let event = serde_json::from_str(&text).map_err(|error| AgentServerError::Answer {
            doing: LISTENING,
            reason: error.to_string(),
        })?;
        Ok(Some(event))
    }
}
