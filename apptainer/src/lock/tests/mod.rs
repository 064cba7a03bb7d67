mod both;
mod lease;
mod other;
