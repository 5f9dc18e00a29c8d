"""Rules of EventSources and EventBuses, and of what all objects refer to."""

from argosy.manifests.checks.rules import Rule

RULES = (
    Rule(
        "no-events",
        ("warning",),
        "The EventSource has no events.",
        "Nothing is received.",
        "Write a kind with at least one named event, or remove the object.",
    ),
    Rule(
        "duplicate-name",
        ("error",),
        "Two events, dependencies or triggers of one object have the same name.",
        "Names tell them apart on the bus; with two alike one is lost.",
        "Rename one of them.",
    ),
    Rule(
        "mixed-kinds",
        ("error",),
        "One EventSource holds a kind that one pod receives at a time and a kind that all pods receive.",
        "The two need different deployments; Argo Events refuses the object as well.",
        "Write two EventSources.",
    ),
    Rule(
        "duplicate-endpoint",
        ("error", "warning"),
        "Two events have the same port and path.",
        "Only one of them can receive. Of two EventSources that is so in one process, in pods of their own not.",
        "Give one of them another path or another port.",
    ),
    Rule(
        "unverified-server",
        ("warning",),
        "Nothing in the manifest says who the server must be that the source connects to.",
        "Whoever stands in its place reads the password and can make events.",
        "Name the server's key or turn verification on, as the finding says.",
    ),
    Rule(
        "routing-name",
        ("info",),
        "A name holds a dot, a blank, '*' or '>'.",
        "They mean something in the subjects of the bus. Argosy encodes them; Argo Events loses the events.",
        "Choose a name of letters, digits and hyphens if the manifest must run in both.",
    ),
    Rule(
        "unused-event",
        ("info",),
        "No sensor in the namespace waits for the event.",
        "It is received and stored for nobody, unless the sensor stands in another set of manifests.",
        "Remove the event, or write the sensor.",
    ),
    Rule(
        "nats-native",
        ("warning",),
        "The EventBus asks for NATS Streaming.",
        "That server reached its end of life. Argosy serves such a bus by JetStream, with JetStream's limits.",
        "Write 'jetstream' in its place when nothing needs the old bus any more.",
    ),
    Rule(
        "nats-exotic",
        ("error",),
        "The EventBus names a NATS Streaming server that somebody else runs.",
        "Argosy does not speak the protocol of NATS Streaming, which reached its end of life.",
        "Run NATS 2.10 or newer with JetStream, and name it in 'jetstreamExotic'.",
    ),
    Rule(
        "unknown-event-bus",
        ("warning",),
        "The EventBus named is not among those of the namespace.",
        "Without a bus nothing is received and nothing is sent.",
        "Correct 'eventBusName', or add the EventBus.",
    ),
    Rule(
        "other-bus",
        ("warning",),
        "The sensor reads another bus than its event source writes to.",
        "Its events never arrive.",
        "Give both the same 'eventBusName'.",
    ),
    Rule(
        "unknown-event-source",
        ("warning", "error", "info"),
        "The dependency names an EventSource that the namespace does not have.",
        "No event arrives. It is an error where the name is a slip of another, and a note where the manifests hold no"
        " EventSource at all.",
        "Correct 'eventSourceName', put the two into one namespace, or lint the EventSource together with the sensor.",
    ),
    Rule(
        "unknown-event",
        ("warning", "error"),
        "The EventSource has no event of that name.",
        "No event arrives. It is an error where the name is a slip of another.",
        "Correct 'eventName', or add the event to the EventSource.",
    ),
    Rule(
        "unknown-reference",
        ("info", "warning"),
        "A Secret or ConfigMap, or a key in it, is not among the manifests.",
        "Without it the event source or trigger fails when it starts. It is a note where the namespace's manifests hold"
        " none of the kind, or where something else makes Secrets.",
        "Correct the name, add the object, or write 'optional: true' if it may be missing.",
    ),
    Rule(
        "no-service-account",
        ("info", "warning"),
        "A pod that calls the Kubernetes API names no service account.",
        "It then runs as 'default', which has no rights in most clusters, so every action is refused.",
        "Write 'template.serviceAccountName' in the spec, and bind a role with the rights that are needed to it.",
    ),
    Rule(
        "unknown-service-account",
        ("warning",),
        "The service account named is not among those of the namespace.",
        "Kubernetes starts no pod for an account that does not exist.",
        "Correct 'serviceAccountName', or add the ServiceAccount.",
    ),
    Rule(
        "missing-right",
        ("warning",),
        "The roles of the service account do not give a right that is needed.",
        "The Kubernetes API refuses the action each time.",
        "Add the verbs to a Role in the namespace named, and bind it to the account.",
    ),
    Rule(
        "surplus-right",
        ("info",),
        "A role gives the service account more than the manifests need.",
        "Whoever takes over the pod can do all of it.",
        "Take the verbs out of the role, unless somebody else needs them.",
    ),
)
