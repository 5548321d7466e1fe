"""Run by other interpreters: the privacy package alone, and what it computes.

Prints JSON: epsilons of plans, and the names of what was imported from elsewhere.
"""

import json
import sys


def main() -> None:
    import dp_fedemb
    from dp_fedemb import privacy

    plans = [
        privacy.PrivacyPlan(3400, 32, 8, 200, privacy.Gaussian(1.0, 0.62)),
        privacy.PrivacyPlan(
            3400, 32, 8, 200, privacy.Gaussian(1.0, 0.62), privacy.Poisson('slots')
        ),
        privacy.PrivacyPlan(3400, 32, 8, 50, privacy.Gaussian(1.0, 0.62), privacy.FixedSize()),
        privacy.PrivacyPlan(3400, 32, 8, 50, privacy.AdaptiveGaussian(1.0, 0.9)),
        privacy.PrivacyPlan(
            3400, 32, 8, 50, privacy.Tree(1.0, 4.0), privacy.MinSeparation(min_separation=9)
        ),
    ]
    figures = []
    for plan in plans:
        run = privacy.PrivateRun(plan, 2**100)
        assert privacy.statement_text(run.statement(3))
        figures.append(
            [
                [plan.epsilon(unit=u, accountant=a) for a in ('pld', 'rdp')]
                for u in ('user', 'present_absent', 'virtual_client')
            ]
        )
    solved = privacy.calibrate(plans[0], 8.0)
    figures.append(solved.mechanism.noise_multiplier)
    try:
        _ = dp_fedemb.models
        refused = ''
    except ImportError as error:
        refused = str(error)
    tops = {name.split('.')[0] for name in sys.modules}
    foreign = tops - set(sys.stdlib_module_names) if hasattr(sys, 'stdlib_module_names') else []
    print(json.dumps({'figures': figures, 'refused': refused, 'foreign': sorted(foreign)}))


if __name__ == '__main__':
    main()
