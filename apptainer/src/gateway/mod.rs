//! A server that speaks as OpenHands' agent server does, over any workspace.
