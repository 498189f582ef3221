// The path is below that of the SDK, so that this plugin can ask the host for what the SDK refuses.
module bennu.dev/bennu/naughty

go 1.25

require bennu.dev/bennu v0.1.0

replace bennu.dev/bennu => ../../../sdk/go
