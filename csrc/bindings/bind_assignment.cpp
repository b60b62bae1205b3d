#include <algorithm>
#include <cmath>
#include <limits>

#include "arrays.h"
#include "yolokkn/assignment.h"

namespace yolokkn::bindings {
namespace {

py::array_t<int64_t> assign_(py::object costs, double max_cost) {
  const auto array = require<float>(costs, {kAny, kAny}, "assign", "costs");
  const auto view = matrix_of<float>(array);
  CostGraph graph;
  std::vector<int64_t> pairs;
  {
    py::gil_scoped_release nogil;
    graph.clear(static_cast<int32_t>(view.cols));
    for (int64_t row = 0; row < view.rows; ++row) {
      for (int64_t column = 0; column < view.cols; ++column) {
        const auto cost = static_cast<double>(view(row, column));
        if (cost <= max_cost && cost >= -std::numeric_limits<float>::max()) {
          graph.edges.push_back({static_cast<int32_t>(column), cost});
        }
      }
      graph.end_row();
    }
    AssignmentSolver solver;
    const auto column_of = solver.solve(graph, max_cost);
    for (size_t row = 0; row < column_of.size(); ++row) {
      if (column_of[row] < 0) continue;
      pairs.push_back(static_cast<int64_t>(row));
      pairs.push_back(column_of[row]);
    }
  }
  const auto count = static_cast<py::ssize_t>(pairs.size() / 2);
  return to_array(std::move(pairs), {count, 2});
}

constexpr const char* kPairs = "assign_pairs";

// The pairs in the order of their rows, with the place of each in the caller's lists.
struct PairGraph {
  CostGraph graph;
  std::vector<int64_t> places;
};

// Numbers without gaps, in the order of the names.
struct Numbered {
  std::vector<int32_t> of;
  int32_t count;
};

Numbered number(std::span<const int64_t> names) {
  std::vector<int64_t> sorted(names.begin(), names.end());
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  Numbered out{{}, static_cast<int32_t>(sorted.size())};
  out.of.reserve(names.size());
  for (const int64_t name : names) {
    out.of.push_back(static_cast<int32_t>(std::lower_bound(sorted.begin(), sorted.end(), name) - sorted.begin()));
  }
  return out;
}

PairGraph sorted_by_row(const Numbered& rows, const Numbered& columns, std::span<const double> costs, double max_cost) {
  const auto admissible = [&](size_t i) { return costs[i] <= max_cost && std::isfinite(costs[i]); };
  PairGraph out;
  out.graph.clear(columns.count);
  std::vector<int64_t> begin(static_cast<size_t>(rows.count) + 1, 0);
  for (size_t i = 0; i < costs.size(); ++i) begin[static_cast<size_t>(rows.of[i]) + 1] += admissible(i);
  for (size_t row = 1; row < begin.size(); ++row) begin[row] += begin[row - 1];
  out.graph.row_end.assign(begin.begin() + 1, begin.end());
  out.graph.edges.resize(static_cast<size_t>(begin.back()));
  out.places.resize(out.graph.edges.size());
  for (size_t i = 0; i < costs.size(); ++i) {
    if (!admissible(i)) continue;
    const auto place = static_cast<size_t>(begin[static_cast<size_t>(rows.of[i])]++);
    out.graph.edges[place] = {columns.of[i], costs[i]};
    out.places[place] = static_cast<int64_t>(i);
  }
  return out;
}

// Of a row's pairs with its column the cheapest, the first of equals.
int64_t place_of(const PairGraph& pairs, size_t row, int32_t column) {
  const auto edges = pairs.graph.row(row);
  const Edge* best = nullptr;
  for (const Edge& edge : edges) {
    if (edge.column == column && (best == nullptr || edge.cost < best->cost)) best = &edge;
  }
  return pairs.places[static_cast<size_t>(best - pairs.graph.edges.data())];
}

py::array_t<int64_t> assign_pairs_(py::object rows, py::object columns, py::object costs, double max_cost) {
  const auto row_array = require<int64_t>(rows, {kAny}, kPairs, "rows");
  const auto column_array = require<int64_t>(columns, {row_array.shape(0)}, kPairs, "columns");
  const auto cost_array = require<double>(costs, {row_array.shape(0)}, kPairs, "costs");
  const auto count = static_cast<size_t>(row_array.shape(0));
  if (count > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    throw py::value_error("assign_pairs: rows must be fewer than 2^31, got " + std::to_string(count));
  }
  const std::span row_span(data_of<int64_t>(row_array), count);
  const std::span column_span(data_of<int64_t>(column_array), count);
  const std::span cost_span(data_of<double>(cost_array), count);
  std::vector<int64_t> chosen;
  {
    py::gil_scoped_release nogil;
    const PairGraph pairs = sorted_by_row(number(row_span), number(column_span), cost_span, max_cost);
    AssignmentSolver solver;
    const auto column_of = solver.solve(pairs.graph, max_cost);
    for (size_t row = 0; row < column_of.size(); ++row) {
      if (column_of[row] >= 0) chosen.push_back(place_of(pairs, row, column_of[row]));
    }
  }
  const auto num_chosen = static_cast<py::ssize_t>(chosen.size());
  return to_array(std::move(chosen), {num_chosen});
}

}  // namespace

void bind_assignment(py::module_& module) {
  module.def("assign", &assign_, py::arg("costs"), py::arg("max_cost"));
  module.def("assign_pairs", &assign_pairs_, py::arg("rows"), py::arg("columns"), py::arg("costs"),
             py::arg("max_cost"));
}

}  // namespace yolokkn::bindings
