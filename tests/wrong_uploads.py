"""Wrong steps of an upload, privacy that would be none, impossible adversaries, and methods without these."""

from wrong_settings import given

UPLOADS = {
    "`upload=klip`": given("upload=klip"),
    "`upload=3`": given("upload=3"),
    "`upload=[{norm: 1.0}]`": given("'upload=[{norm: 1.0}]'"),
    "`upload=[{name: clip, norm: 0}]`": given("'upload=[{name: clip, norm: 0}]'"),
    "`upload=[{name: clip, norm: big}]`": given("'upload=[{name: clip, norm: big}]'"),
    "`upload=[{name: quantize, bits: 1}]`": given("'upload=[{name: quantize, bits: 1}]'"),
    "`upload=[{name: top_k, share: 2}]`": given("'upload=[{name: top_k, share: 2}]'"),
    "`upload=[{name: top_k, shares: 0.1}]`": given("'upload=[{name: top_k, shares: 0.1}]'"),
    "`upload=noise`": given("upload=noise"),
    "`upload=[quantize, clip]`": given("'upload=[quantize, clip]'"),
    "`upload=[clip, clip]`": given("'upload=[clip, clip]'"),
    "`upload=[sign, quantize]`": given("'upload=[sign, quantize]'"),
    "`upload=clip method=local`": given("upload=clip method=local"),
    "`upload=clip method=scaffold`": given("upload=clip method=scaffold training.optimizer=sgd"),
    "`upload=clip method=fedproto`": given("upload=clip method=fedproto"),
}

POISSON = "training.participation.sampling=poisson server.weighting=uniform privacy.noise_multiplier=1"
PRIVACY = {
    "`privacy.epsilon=0`": given("privacy.epsilon=0"),
    "`privacy.epsilon=8`, cohorts of fixed size": given("privacy.epsilon=8 server.weighting=uniform"),
    "`privacy.epsilon=8`, weights by examples": given(
        "privacy.epsilon=8 training.participation.sampling=poisson"
    ),
    "`privacy.epsilon=8` and a noise multiplier": given(f"privacy.epsilon=8 {POISSON}"),
    "`privacy.quantile=1`": given(f"privacy.quantile=1 {POISSON}"),
    "`privacy.delta=1`": given(f"privacy.delta=1 {POISSON}"),
    "`privacy.clip=0.5` alone": given("privacy.clip=0.5"),
    "`privacy` and balanced class weights": given(f"task.class_weights=balanced {POISSON}"),
    "privacy and a minimum of clients": given(f"training.participation.minimum=2 {POISSON}"),
    "privacy and `upload=clip`": given(f"upload=clip {POISSON}"),
    "privacy of `scaffold`": given(f"method=scaffold training.optimizer=sgd {POISSON}"),
}

RULE = "server.weighting=uniform"
AGGREGATION = {
    "`server.aggregation=medan`": given("server.aggregation=medan"),
    "`server.aggregation=3`": given("server.aggregation=3"),
    "`server.aggregation=median`, weights by examples": given("server.aggregation=median"),
    "`server.aggregation=median`, clients drawn several times": given(
        f"server.aggregation=median training.participation.sampling=by_examples {RULE}"
    ),
    "`server.aggregation={name: trimmed_mean, share: 0.5}`": given(
        f"'server.aggregation={{name: trimmed_mean, share: 0.5}}' {RULE}"
    ),
    "`server.aggregation={name: median, share: 0.1}`": given(
        f"'server.aggregation={{name: median, share: 0.1}}' {RULE}"
    ),
    "`server.aggregation={name: krum, attackers: 2}` of cohorts of 5": given(
        f"'server.aggregation={{name: krum, attackers: 2}}' training.cohort_size=5 {RULE}"
    ),
    "`server.aggregation={name: krum, attackers: 1, selected: 5}` of cohorts of 5": given(
        f"'server.aggregation={{name: krum, attackers: 1, selected: 5}}' training.cohort_size=5 {RULE}"
    ),
    "privacy and `server.aggregation=median`": given(f"server.aggregation=median {POISSON}"),
    "`server.aggregation=median` of `fedproto`": given(f"server.aggregation=median method=fedproto {RULE}"),
}

ADVERSARIES = {
    "`adversaries.clients=2`": given("adversaries.clients=2.0"),
    "`adversaries.clients=[20]` of 20": given("'adversaries.clients=[20]'"),
    "`adversaries.clients=[north]`": given("'adversaries.clients=[north]'"),
    "`adversaries.clients=0.01` of 20": given("adversaries.clients=0.01"),
    "`adversaries.kind=evil`": given("adversaries.kind=evil adversaries.clients=0.1"),
    "a backdoor for class 10 of digits": given(
        "adversaries.kind=backdoor adversaries.clients=0.1 adversaries.target=10"
    ),
    "a trigger of 9 pixels on images of 8": given(
        "adversaries.kind=backdoor adversaries.clients=0.1 adversaries.trigger=9"
    ),
    "`adversaries.kind=boost` of `fedproto`": given(
        "adversaries.kind=boost adversaries.clients=0.1 method=fedproto"
    ),
}

KINDS = {"Uploads": UPLOADS, "Privacy": PRIVACY, "Aggregation": AGGREGATION, "Adversaries": ADVERSARIES}
