"""Names and category ids of COCO's 80 classes: for model files that carry no names, and for evaluation."""

from __future__ import annotations

COCO80 = tuple(
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,skis,"
    "snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,"
    "knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,"
    "dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,"
    "vase,scissors,teddy bear,hair drier,toothbrush".split(",")
)

# COCO's category ids leave these numbers out; a model with 91 scores counts by category id.
_MISSING_IDS = {0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_CATEGORY_IDS = tuple(i for i in range(91) if i not in _MISSING_IDS)


def default_names(num_classes: int) -> tuple[str, ...]:
    """Return COCO's names for a model with 80 classes, or 91 counted by category id; none otherwise.

    Example:
        >>> default_names(80)[2], default_names(91)[3], default_names(5)
        ('car', 'car', ())
    """
    if num_classes == 80:
        return COCO80
    if num_classes == 91:
        by_id = dict(zip(COCO_CATEGORY_IDS, COCO80, strict=True))
        return tuple(by_id.get(i, f"unused {i}") for i in range(91))
    return ()
