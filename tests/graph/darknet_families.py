"""The published darknet networks written out from their structure: YOLOv3, v3-tiny, v4, v4-tiny at 80 classes."""

from __future__ import annotations


def conv(filters: int, size: int, stride: int = 1, activation: str = "leaky", norm: int = 1) -> str:
    text = f"[convolutional]\nbatch_normalize={norm}\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\n"
    return text + f"activation={activation}\n"


def maxpool(size: int, stride: int) -> str:
    return f"[maxpool]\nsize={size}\nstride={stride}\n"


def route(*layers: int, half: bool = False) -> str:
    return f"[route]\nlayers = {', '.join(map(str, layers))}\n" + ("groups=2\ngroup_id=1\n" if half else "")


def head(filters: int, mask: str, num: int) -> str:
    anchors = ", ".join(f"{10 * i + 8},{12 * i + 9}" for i in range(num))
    yolo = f"[yolo]\nmask = {mask}\nanchors = {anchors}\nclasses=80\nnum={num}\njitter=.3\nscale_x_y = 1.05\n"
    return conv(filters, 3) + conv(255, 1, 1, "linear", 0) + yolo


def net(side: int) -> str:
    return f"[net]\n# Testing\nbatch=1\nwidth={side}\nheight={side}\nchannels=3\nsteps=400000,450000\nscales=.1,.1\n"


def pairs(filters: int, count: int) -> str:
    return (conv(filters, 1) + conv(2 * filters, 3)) * count


UPSAMPLE = "[upsample]\nstride=2\n"
SHORTCUT = "[shortcut]\nfrom=-3\nactivation=linear\n"


def yolov3(side: int) -> str:
    text = net(side) + conv(32, 3)
    for filters, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        text += conv(filters, 3, 2) + (conv(filters // 2, 1) + conv(filters, 3) + SHORTCUT) * blocks
    text += pairs(512, 2) + conv(512, 1) + head(1024, "6,7,8", 9)
    text += route(-4) + conv(256, 1) + UPSAMPLE + route(-1, 61) + pairs(256, 2) + conv(256, 1) + head(512, "3,4,5", 9)
    return (
        text
        + route(-4)
        + conv(128, 1)
        + UPSAMPLE
        + route(-1, 36)
        + pairs(128, 2)
        + conv(128, 1)
        + head(256, "0,1,2", 9)
    )


def yolov3_tiny(side: int) -> str:
    text = net(side) + "".join(conv(filters, 3) + maxpool(2, 2) for filters in (16, 32, 64, 128, 256))
    text += conv(512, 3) + maxpool(2, 1) + conv(1024, 3) + conv(256, 1) + head(512, "3,4,5", 6)
    return text + route(-4) + conv(128, 1) + UPSAMPLE + route(-1, 8) + head(256, "0,1,2", 6)


def yolov4_tiny(side: int) -> str:
    text = net(side) + conv(32, 3, 2) + conv(64, 3, 2)
    for filters in (64, 128, 256):
        text += conv(filters, 3) + route(-1, half=True) + conv(filters // 2, 3) + conv(filters // 2, 3)
        text += route(-1, -2) + conv(filters, 1) + route(-6, -1) + maxpool(2, 2)
    text += conv(512, 3) + conv(256, 1) + head(512, "3,4,5", 6)
    return text + route(-4) + conv(128, 1) + UPSAMPLE + route(-1, 23) + head(256, "1,2,3", 6)


def yolov4(side: int) -> str:
    text = net(side) + conv(32, 3, 1, "mish")
    for filters, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        wide = filters if blocks == 1 else filters // 2
        text += conv(filters, 3, 2, "mish") + conv(wide, 1, 1, "mish") + route(-2) + conv(wide, 1, 1, "mish")
        text += (conv(filters // 2, 1, 1, "mish") + conv(wide, 3, 1, "mish") + SHORTCUT) * blocks
        text += conv(wide, 1, 1, "mish") + route(-1, -3 * blocks - 4) + conv(filters, 1, 1, "mish")
    text += pairs(512, 1) + conv(512, 1) + maxpool(5, 1) + route(-2) + maxpool(9, 1) + route(-4) + maxpool(13, 1)
    text += route(-1, -3, -5, -6) + pairs(512, 1) + conv(512, 1)
    for filters, layer in ((256, 85), (128, 54)):
        text += conv(filters, 1) + UPSAMPLE + route(layer) + conv(filters, 1) + route(-1, -3)
        text += pairs(filters, 2) + conv(filters, 1)
    text += head(256, "0,1,2", 9)
    text += route(-4) + conv(256, 3, 2) + route(-1, -16) + pairs(256, 2) + conv(256, 1) + head(512, "3,4,5", 9)
    return text + route(-4) + conv(512, 3, 2) + route(-1, -37) + pairs(512, 2) + conv(512, 1) + head(1024, "6,7,8", 9)


# name: (cfg by side of the input, bytes of the published weights file)
FAMILIES = {
    "yolov3": (yolov3, 248007048),
    "yolov3-tiny": (yolov3_tiny, 35434956),
    "yolov4": (yolov4, 257717640),
    "yolov4-tiny": (yolov4_tiny, 24251276),
}
