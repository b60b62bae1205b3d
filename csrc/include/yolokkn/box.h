// Boxes in continuous pixel coordinates: width = x2 - x1.
#pragma once

#include "yolokkn/host_device.h"

namespace yolokkn {

struct Box {
  float x1, y1, x2, y2;
};

YOLOKKN_HD inline float box_area(Box box) noexcept {
  const float width = box.x2 - box.x1;
  const float height = box.y2 - box.y1;
  return width > 0.0f && height > 0.0f ? width * height : 0.0f;
}

// Intersection over union; 0 when either box is degenerate (no positive width and height).
YOLOKKN_HD inline float box_iou(Box a, Box b) noexcept {
  const float area_a = box_area(a);
  const float area_b = box_area(b);
  const float width = (a.x2 < b.x2 ? a.x2 : b.x2) - (a.x1 > b.x1 ? a.x1 : b.x1);
  const float height = (a.y2 < b.y2 ? a.y2 : b.y2) - (a.y1 > b.y1 ? a.y1 : b.y1);
  if (!(area_a > 0.0f) || !(area_b > 0.0f) || !(width > 0.0f) || !(height > 0.0f)) return 0.0f;
  const float intersection = width * height;
  return intersection / (area_a + area_b - intersection);
}

}  // namespace yolokkn
