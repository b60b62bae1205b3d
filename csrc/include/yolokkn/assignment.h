// Exact assignment of a sparse, gated cost matrix.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace yolokkn {

struct Edge {
  int32_t column;
  double cost;
};

// The admissible pairs of a cost matrix, row after row; columns of a row in any order, each at most once.
struct CostGraph {
  std::vector<Edge> edges;
  std::vector<int64_t> row_end;  // for each row, where its edges end
  int32_t num_columns = 0;

  void clear(int32_t columns) noexcept;
  void end_row() { row_end.push_back(static_cast<int64_t>(edges.size())); }
  std::span<const Edge> row(size_t index) const noexcept {
    const auto begin = index == 0 ? 0 : row_end[index - 1];
    return {edges.data() + begin, static_cast<size_t>(row_end[index] - begin)};
  }
};

// Minimises the sum of the costs of the chosen pairs plus `max_cost` for each row left alone, by successive shortest
// augmenting paths (Jonker and Volgenant, 1987). A search only ever touches columns that its row can reach, so that
// every connected component of the gated graph is solved by itself: a lone pair costs a few operations. Ties are
// decided as yolokkn/tracking/reference/assignment.py says. Buffers are kept between calls.
class AssignmentSolver {
 public:
  // Returns the column of each row, -1 where it is left alone; valid until the next call.
  std::span<const int32_t> solve(const CostGraph& graph, double max_cost);

 private:
  struct Column {
    double distance;  // of the current search; infinity where not reached
    double price;     // dual variable
    int32_t row;      // whom it is assigned to, or -1
    int32_t parent;   // row from which the current search reached it
    bool scanned;
  };

  void add_row(const CostGraph& graph, double max_cost, int32_t new_row);
  void relax(std::span<const Edge> edges, int32_t row, double low);
  int32_t nearest(double end) const noexcept;
  void augment(int32_t new_row, int32_t sink) noexcept;

  std::vector<Column> columns_;
  std::vector<double> row_price_;
  std::vector<int32_t> column_of_;
  std::vector<int32_t> reached_;  // columns of the current search
};

}  // namespace yolokkn
