// Native tests of the trackers' parts; built with sanitizers too. Ids are compared with the reference from Python.
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "../tracking/archive.h"
#include "../tracking/overlaps.h"
#include "yolokkn/assignment.h"
#include "yolokkn/trackers.h"

namespace {

std::atomic<int64_t> allocations{0};

}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace yolokkn {
namespace {

#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                        \
    }                                                                      \
  } while (false)

using Rng = std::mt19937_64;

double uniform(Rng& rng, double low, double high) { return std::uniform_real_distribution<double>(low, high)(rng); }

// Least total of the rows from `row` on, by trying everything.
double least(const std::vector<std::vector<double>>& costs, double gate, size_t row, std::vector<bool>& used) {
  if (row == costs.size()) return 0.0;
  double best = gate + least(costs, gate, row + 1, used);
  for (size_t column = 0; column < used.size(); ++column) {
    if (used[column] || costs[row][column] > gate) continue;
    used[column] = true;
    best = std::min(best, costs[row][column] + least(costs, gate, row + 1, used));
    used[column] = false;
  }
  return best;
}

void test_assignment_is_least() {
  Rng rng(1);
  AssignmentSolver solver;
  CostGraph graph;
  for (int round = 0; round < 1500; ++round) {
    const size_t rows = rng() % 6;
    const size_t columns = rng() % 6;
    const double gate = uniform(rng, 0.1, 1.0);
    std::vector<std::vector<double>> costs(rows, std::vector<double>(columns));
    graph.clear(static_cast<int32_t>(columns));
    for (auto& row : costs) {
      for (size_t column = 0; column < columns; ++column) {
        row[column] = round % 2 ? uniform(rng, 0.0, 1.0) : static_cast<double>(rng() % 5) / 4.0;
        if (row[column] <= gate) graph.edges.push_back({static_cast<int32_t>(column), row[column]});
      }
      graph.end_row();
    }
    const auto column_of = solver.solve(graph, gate);
    std::vector<bool> used(columns, false);
    double total = 0.0;
    for (size_t row = 0; row < rows; ++row) {
      if (column_of[row] < 0) {
        total += gate;
        continue;
      }
      const auto column = static_cast<size_t>(column_of[row]);
      CHECK(!used[column]);
      used[column] = true;
      total += costs[row][column];
    }
    std::fill(used.begin(), used.end(), false);
    CHECK(std::abs(total - least(costs, gate, 0, used)) < 1e-9);
  }
}

CornerBox random_box(Rng& rng, double size) {
  const double x = uniform(rng, -size, size);
  const double y = uniform(rng, -size, size);
  const double scale = std::pow(10.0, uniform(rng, -2.0, 2.0));
  return {x, y, x + scale * uniform(rng, 0.1, 1.0), y + scale * uniform(rng, 0.1, 1.0)};
}

void test_overlaps_are_all_found_once() {
  Rng rng(2);
  OverlapFinder finder;
  for (int round = 0; round < 200; ++round) {
    std::vector<CornerBox> boxes;
    for (size_t i = rng() % 200; i > 0; --i) boxes.push_back(random_box(rng, 100.0));
    if (round % 7 == 0) boxes.push_back({-3e38, -3e38, 3e38, 3e38});
    finder.build(boxes);
    for (int query = 0; query < 50; ++query) {
      const CornerBox box = random_box(rng, 150.0);
      std::vector<int> found(boxes.size(), 0);
      finder.query(box, 0.0, [&](int32_t index, double iou) {
        ++found[static_cast<size_t>(index)];
        CHECK(iou >= 0.0 && iou <= 1.0);
      });
      for (size_t i = 0; i < boxes.size(); ++i) {
        const CornerBox& b = boxes[i];
        const bool overlap = box.x1 < b.x2 && b.x1 < box.x2 && box.y1 < b.y2 && b.y1 < box.y2;
        CHECK(found[i] == (overlap ? 1 : 0));
      }
    }
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double inf = std::numeric_limits<double>::infinity();
    for (const CornerBox& box : {CornerBox{nan, nan, nan, nan}, CornerBox{-inf, -inf, inf, inf}}) {
      finder.query(box, 0.0, [](int32_t, double) {});
    }
  }
}

struct Scene {
  std::vector<float> boxes, scores;
  std::vector<int32_t> class_ids;
  std::vector<int64_t> track_ids;
  std::vector<int32_t> classes;
  std::vector<float> embeddings;
  std::vector<MaskShape> shapes;

  FrameView view(std::optional<double> time_s = std::nullopt) const {
    const auto count = static_cast<int64_t>(scores.size());
    return {{boxes.data(), count, 4}, scores.data(), class_ids.data(), time_s, std::nullopt, {}};
  }
  FrameResult result() { return {track_ids, classes}; }
};

Scene crowd(Rng& rng, int count, float shift) {
  Scene scene;
  for (int i = 0; i < count; ++i) {
    const float x = static_cast<float>(i % 10) * 60.0f + shift;
    const float y = static_cast<float>(i / 10) * 60.0f;
    if (rng() % 10 == 0) continue;
    scene.boxes.insert(scene.boxes.end(), {x, y, x + 80.0f, y + 90.0f});
    scene.scores.push_back(static_cast<float>(uniform(rng, 0.05, 1.0)));
    scene.class_ids.push_back(static_cast<int32_t>(rng() % 2));
  }
  scene.track_ids.resize(scene.scores.size());
  scene.classes.resize(scene.scores.size());
  return scene;
}

std::vector<std::unique_ptr<Tracker>> all_trackers() {
  std::vector<std::unique_ptr<Tracker>> trackers;
  for (const ClassPolicy policy : {ClassPolicy::kStrict, ClassPolicy::kVote}) {
    const TrackerTerms terms{30.0, policy};
    trackers.push_back(make_sort({}, terms));
    trackers.push_back(make_bytetrack({}, terms));
    trackers.push_back(make_botsort({}, terms));
    trackers.push_back(make_ocsort({}, terms));
    trackers.push_back(make_cbiou({}, terms));
    trackers.push_back(make_kkn({}, terms));
  }
  return trackers;
}

void test_steady_state_allocates_nothing() {
  for (const auto& tracker : all_trackers()) {
    Rng rng(3);
    std::vector<Scene> scenes;
    for (int i = 0; i < 200; ++i) scenes.push_back(crowd(rng, 60, static_cast<float>(i % 20)));
    for (int repeat = 0; repeat < 4; ++repeat) {
      const int64_t before = allocations;
      for (Scene& scene : scenes) tracker->update(scene.view(), scene.result());
      CHECK(repeat < 3 || allocations == before);
    }
  }
}

float any_float(Rng& rng) {
  return rng() % 8 == 0 ? std::bit_cast<float>(static_cast<uint32_t>(rng())) : static_cast<float>(uniform(rng, -1, 1));
}

CameraMotion any_camera(Rng& rng) {
  CameraMotion m;
  for (double* value : {&m.xx, &m.xy, &m.x0, &m.yx, &m.yy, &m.y0}) {
    if (rng() % 4 == 0) *value += uniform(rng, -3, 3);
    if (rng() % 40 == 0) *value = std::bit_cast<double>(rng());
  }
  return m;
}

void test_random_bits_leave_sane_tracks() {
  Rng rng(4);
  for (const auto& tracker : all_trackers()) {
    for (int round = 0; round < 1500; ++round) {
      Scene scene = crowd(rng, 12, 0.0f);
      for (float& value : scene.boxes) {
        if (rng() % 8 == 0) value = std::bit_cast<float>(static_cast<uint32_t>(rng()));
      }
      FrameView frame = scene.view();
      if (rng() % 2) frame.timestamp_s = std::bit_cast<double>(rng());
      if (rng() % 2) frame.camera = any_camera(rng);
      if (rng() % 2) {
        for (size_t i = 0; i < scene.scores.size() * 8; ++i) scene.embeddings.push_back(any_float(rng));
        frame.embeddings = {scene.embeddings.data(), static_cast<int64_t>(scene.scores.size()), 8};
      }
      if (rng() % 2) {
        scene.shapes.resize(scene.scores.size());
        for (MaskShape& shape : scene.shapes) shape.rows.fill(static_cast<uint16_t>(rng()));
        frame.shapes = scene.shapes;
      }
      tracker->update(frame, scene.result());
      for (const LiveTrack& track : tracker->tracks()) {
        CHECK(std::isfinite(track.x1) && std::isfinite(track.y1) && std::isfinite(track.x2) && std::isfinite(track.y2));
        CHECK(track.x2 >= track.x1 && track.y2 >= track.y1 && track.age >= 0.0);
      }
    }
    CHECK(tracker->tracks().size() < 2000);
  }
}

// What is saved goes on alike in another tracker; bytes that were not saved are refused and change nothing.
void test_states_go_on_alike() {
  Rng rng(5);
  const auto twins = all_trackers();
  auto originals = all_trackers();
  for (size_t k = 0; k < twins.size(); ++k) {
    Tracker& tracker = *originals[k];
    for (int i = 0; i < 30; ++i) {
      Scene scene = crowd(rng, 40, static_cast<float>(i));
      tracker.update(scene.view(i / 30.0), scene.result());
    }
    std::string state = tracker.save();
    twins[k]->load(state);
    CHECK(twins[k]->save() == state);
    for (int i = 30; i < 60; ++i) {
      Scene scene = crowd(rng, 40, static_cast<float>(i));
      Scene other = scene;
      tracker.update(scene.view(i / 30.0), scene.result());
      twins[k]->update(other.view(i / 30.0), other.result());
      CHECK(scene.track_ids == other.track_ids && scene.classes == other.classes);
    }
    CHECK(twins[k]->save() == tracker.save());
    state = tracker.save();
    for (size_t size = 0; size < state.size(); size += 1 + state.size() / 50) {
      bool refused = false;
      try {
        tracker.load(std::span(state).first(size));
      } catch (const ArchiveError&) {
        refused = true;
      }
      CHECK(refused && tracker.save() == state);
    }
    for (int i = 0; i < 500; ++i) {
      std::string damaged = state;
      damaged[rng() % damaged.size()] ^= static_cast<char>(1 + rng() % 255);
      bool refused = false;
      try {
        tracker.load(damaged);
      } catch (const ArchiveError&) {
        refused = true;
      }
      CHECK(refused && tracker.save() == state);
    }
  }
}

void test_threads_take_turns() {
  for (const auto& tracker : all_trackers()) {
    std::vector<std::thread> threads;
    for (uint64_t seed = 0; seed < 4; ++seed) {
      threads.emplace_back([&, seed] {
        Rng rng(seed);
        for (int i = 0; i < 500; ++i) {
          Scene scene = crowd(rng, 20, static_cast<float>(i));
          tracker->update(scene.view(i / 30.0), scene.result());
          if (i % 50 == 0) CHECK(tracker->tracks().size() < 10000);
          if (i % 200 == 199) tracker->reset();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

}  // namespace
}  // namespace yolokkn

int main() {
  yolokkn::test_assignment_is_least();
  yolokkn::test_overlaps_are_all_found_once();
  yolokkn::test_steady_state_allocates_nothing();
  yolokkn::test_random_bits_leave_sane_tracks();
  yolokkn::test_states_go_on_alike();
  yolokkn::test_threads_take_turns();
  return 0;
}
