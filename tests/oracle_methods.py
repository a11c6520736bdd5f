"""The plain loops of all methods, by name."""

from oracle_mixing import FedAMP, FedPAC
from oracle_more_than_roles import Ditto, FedProto, FedRod, FedTPPrior, FedTPRod, PFedMe
from oracle_other_steps import APFL, FedALA, PerFedAvg, Scaffold
from oracle_pefll import PeFLL
from oracle_roles import (
    FedAvg,
    FedBABU,
    FedBN,
    FedPer,
    FedPerfix,
    FedProx,
    FedRep,
    FedTP,
    FedTPPer,
    LGFedAvg,
    Local,
    PFedHN,
    Vanilla,
)

METHODS = {
    "fedavg": FedAvg,
    "fedprox": FedProx,
    "local": Local,
    "fedper": FedPer,
    "fedperfix": FedPerfix,
    "lg_fedavg": LGFedAvg,
    "fedrep": FedRep,
    "fedbabu": FedBABU,
    "fedbn": FedBN,
    "vanilla": Vanilla,
    "fedrod": FedRod,
    "fedproto": FedProto,
    "pfedme": PFedMe,
    "scaffold": Scaffold,
    "apfl": APFL,
    "perfedavg": PerFedAvg,
    "ditto": Ditto,
    "fedala": FedALA,
    "fedamp": FedAMP,
    "fedpac": FedPAC,
    "pfedhn": PFedHN,
    "pefll": PeFLL,
    "fedtp": FedTP,
    "fedtp_per": FedTPPer,
    "fedtp_rod": FedTPRod,
    "fedtp_prior": FedTPPrior,
}
