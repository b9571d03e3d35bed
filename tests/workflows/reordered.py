"""The lifecycle with its order changed on purpose, for the replayer to stumble over."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from contracts.events import GenerationRequested
    from contracts.generation import Outcome, Plan
    from contracts.names import GENERATION_WORKFLOW, PLAN_ACTIVITY
    from workflows import options


@workflow.defn(name=GENERATION_WORKFLOW)
class ReorderedGeneration:
    """A timer comes before the plan."""

    @workflow.run
    async def run(self, request: GenerationRequested) -> Outcome:
        """Do the first two steps in the wrong order."""
        await workflow.sleep(1)
        await workflow.execute_local_activity(
            PLAN_ACTIVITY,
            request,
            result_type=Plan,
            start_to_close_timeout=options.PLAN_TIMEOUT,
        )
        return Outcome()
