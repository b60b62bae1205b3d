#include "yolokkn/assignment.h"

#include <limits>

namespace yolokkn {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

void CostGraph::clear(int32_t columns) noexcept {
  edges.clear();
  row_end.clear();
  num_columns = columns;
}

std::span<const int32_t> AssignmentSolver::solve(const CostGraph& graph, double max_cost) {
  columns_.assign(static_cast<size_t>(graph.num_columns), {kInfinity, 0.0, -1, -1, false});
  row_price_.assign(graph.row_end.size(), 0.0);
  column_of_.assign(graph.row_end.size(), -1);
  reached_.reserve(columns_.size());
  for (size_t row = 0; row < graph.row_end.size(); ++row) add_row(graph, max_cost, static_cast<int32_t>(row));
  return column_of_;
}

void AssignmentSolver::relax(std::span<const Edge> edges, int32_t row, double low) {
  const double row_price = row_price_[static_cast<size_t>(row)];
  for (const Edge& edge : edges) {
    Column& column = columns_[static_cast<size_t>(edge.column)];
    if (column.scanned) continue;
    const double through = low + (edge.cost - column.price - row_price);
    if (!(through < column.distance)) continue;
    if (column.distance == kInfinity) reached_.push_back(edge.column);
    column.distance = through;
    column.parent = row;
  }
}

// The nearest column that is not yet scanned: among equals a free one first, then the lowest. -1 where the path had
// better end at a row.
int32_t AssignmentSolver::nearest(double end) const noexcept {
  int32_t best = -1;
  double best_distance = kInfinity;
  bool best_free = false;
  for (const int32_t index : reached_) {
    const Column& column = columns_[static_cast<size_t>(index)];
    if (column.scanned || column.distance > best_distance) continue;
    const bool free = column.row < 0;
    const bool tie = column.distance == best_distance;
    if (tie && (free != best_free ? best_free : index > best)) continue;
    best = index;
    best_distance = column.distance;
    best_free = free;
  }
  return best_distance < end || (best_free && best_distance <= end) ? best : -1;
}

void AssignmentSolver::add_row(const CostGraph& graph, double max_cost, int32_t new_row) {
  int32_t row = new_row;
  int32_t sink = -1;
  int32_t end_row = new_row;
  double low = 0.0;
  double end = kInfinity;
  while (true) {
    relax(graph.row(static_cast<size_t>(row)), row, low);
    const double stay = low + (max_cost - row_price_[static_cast<size_t>(row)]);
    if (stay < end) {
      end = stay;
      end_row = row;
    }
    const int32_t next = nearest(end);
    if (next < 0) break;
    Column& column = columns_[static_cast<size_t>(next)];
    if (column.row < 0) {
      sink = next;
      end = column.distance;
      break;
    }
    column.scanned = true;
    low = column.distance;
    row = column.row;
  }
  row_price_[static_cast<size_t>(new_row)] = end;
  for (const int32_t index : reached_) {
    Column& column = columns_[static_cast<size_t>(index)];
    if (column.scanned) {
      row_price_[static_cast<size_t>(column.row)] += end - column.distance;
      column.price -= end - column.distance;
    }
    column.distance = kInfinity;
    column.scanned = false;
  }
  reached_.clear();
  if (sink < 0 && end_row != new_row) {
    sink = column_of_[static_cast<size_t>(end_row)];
    column_of_[static_cast<size_t>(end_row)] = -1;
  }
  augment(new_row, sink);
}

void AssignmentSolver::augment(int32_t new_row, int32_t sink) noexcept {
  while (sink >= 0) {
    Column& column = columns_[static_cast<size_t>(sink)];
    column.row = column.parent;
    const int32_t row = column.parent;
    const int32_t previous = column_of_[static_cast<size_t>(row)];
    column_of_[static_cast<size_t>(row)] = sink;
    if (row == new_row) break;
    sink = previous;
  }
}

}  // namespace yolokkn
