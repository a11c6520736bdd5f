"""Wrong steps of an upload, and methods that take none."""

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

KINDS = {"Uploads": UPLOADS}
