// Blocks of threads as fibers of one host thread: the scheduler runs each until it waits for others or ends.
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cuda_runtime.h"

thread_local uint3 threadIdx;
thread_local uint3 blockIdx;
thread_local dim3 blockDim;
thread_local dim3 gridDim;

namespace emulator {
namespace {

constexpr size_t kStack = size_t{128} << 10;

enum class Wait { kNone, kBlock, kWarp, kDone };

struct Fiber {
  uint3 thread;
  unsigned number = 0;
  Wait wait = Wait::kNone;
  unsigned mask = 0;         // of the warp operation that it waits for
  uint64_t posted = 0;       // what it gives to it
  uint64_t* seen = nullptr;  // (32) what the lanes of its warp gave
  bool is_made = false;
  void* stack = nullptr;
  ucontext_t context;
  jmp_buf state;
};

// The fibers of one host thread, made once and used by every block.
class Scheduler {
 public:
  static Scheduler& instance();

  void run_block(dim3 block, size_t shared_bytes, const std::function<void()>& body) {
    const unsigned count = block.x * block.y * block.z;
    shared_.assign(shared_bytes + 64, 0xCD);
    reset(block, count);
    body_ = &body;
    for (;;) {
      const bool ran = run_pass(count);
      if (!error_.empty()) abandon();
      if (error_.empty() && (release_warps(count) || release_block(count))) continue;
      if (error_.empty() && all(count, Wait::kDone)) return;
      if (!ran && error_.empty()) error_ = "threads of a block wait for one another for ever";
      if (!error_.empty()) abandon();
    }
  }

  void wait(Wait reason) {
    current_->wait = reason;
    if (_setjmp(current_->state) == 0) _longjmp(home_, 1);
  }

  // Ends the kernel: nothing can be thrown through a fiber.
  [[noreturn]] void fail(const char* text) {
    error_ = text;
    _longjmp(home_, 1);
  }

  Fiber& current() noexcept { return *current_; }
  void* shared() noexcept {
    return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(shared_.data()) + 63) / 64 * 64);
  }
  void set_order(uint64_t seed) {
    seed_ = seed;
    random_.seed(seed);
  }
  void shuffle(std::vector<unsigned>& order) {
    if (seed_ == 1) std::reverse(order.begin(), order.end());
    if (seed_ > 1) std::shuffle(order.begin(), order.end(), random_);
  }

 private:
  static void enter() { instance().live(); }

  [[noreturn]] void live() {
    for (;;) {
      (*body_)();
      wait(Wait::kDone);
    }
  }

  // The fibers stand in the midst of a kernel: they are made anew.
  [[noreturn]] void abandon() {
    for (const auto& fiber : fibers_) fiber->is_made = false;
    throw std::runtime_error("emulator: " + std::exchange(error_, {}));
  }

  void reset(dim3 block, unsigned count) {
    while (fibers_.size() < count) fibers_.push_back(std::make_unique<Fiber>());
    seen_.assign((count + 31) / 32 * 32, 0);
    order_.resize(count);
    std::iota(order_.begin(), order_.end(), 0u);
    for (unsigned i = 0; i < count; ++i) {
      Fiber& fiber = *fibers_[i];
      fiber.number = i;
      fiber.thread = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
      fiber.wait = Wait::kNone;
      fiber.seen = seen_.data() + i / 32 * 32;
    }
  }

  bool run_pass(unsigned count) {
    shuffle(order_);
    bool ran = false;
    for (unsigned i = 0; i < count; ++i) {
      Fiber& fiber = *fibers_[order_[i]];
      if (fiber.wait != Wait::kNone) continue;
      resume(fiber);
      if (!error_.empty()) return true;
      ran = true;
    }
    return ran;
  }

  void resume(Fiber& fiber) {
    current_ = &fiber;
    threadIdx = fiber.thread;
    if (_setjmp(home_) != 0) return;
    if (fiber.is_made) _longjmp(fiber.state, 1);
    fiber.is_made = true;
    if (fiber.stack == nullptr) {
      fiber.stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (fiber.stack == MAP_FAILED) throw std::bad_alloc();
    }
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &Scheduler::enter, 0);
    setcontext(&fiber.context);
  }

  // A warp operation is done when every lane of its mask has come to one with the same mask.
  bool release_warps(unsigned count) {
    bool released = false;
    for (unsigned first = 0; first < count; first += 32) {
      const unsigned lanes = std::min(32u, count - first);
      for (unsigned lane = 0; lane < lanes; ++lane) {
        const Fiber& leader = *fibers_[first + lane];
        if (leader.wait != Wait::kWarp) continue;
        if (lanes < 32 && (leader.mask >> lanes) != 0 && leader.mask != 0xffffffffu) {
          error_ = "a warp operation names lanes that the block does not have";
          return true;
        }
        if (has_come(first, lanes, leader.mask)) {
          release(first, lanes, leader.mask);
          released = true;
        }
      }
    }
    return released;
  }

  bool has_come(unsigned first, unsigned lanes, unsigned mask) const {
    for (unsigned i = 0; i < lanes; ++i) {
      const Fiber& other = *fibers_[first + i];
      if ((mask >> i & 1u) != 0 && (other.wait != Wait::kWarp || other.mask != mask)) return false;
    }
    return true;
  }

  void release(unsigned first, unsigned lanes, unsigned mask) {
    for (unsigned i = 0; i < lanes; ++i) {
      if ((mask >> i & 1u) == 0) continue;
      Fiber& fiber = *fibers_[first + i];
      fiber.seen[i] = fiber.posted;
      fiber.wait = Wait::kNone;
    }
  }

  bool release_block(unsigned count) {
    bool any = false;
    for (unsigned i = 0; i < count; ++i) {
      if (fibers_[i]->wait == Wait::kNone || fibers_[i]->wait == Wait::kWarp) return false;
      any |= fibers_[i]->wait == Wait::kBlock;
    }
    if (!any) return false;
    // threads that have ended no longer count on a GPU either, but a kernel that relies on it is refused here
    if (!all(count, Wait::kBlock)) {
      error_ = "some threads of a block ended, others wait at a barrier";
      return false;
    }
    for (unsigned i = 0; i < count; ++i) fibers_[i]->wait = Wait::kNone;
    return true;
  }

  bool all(unsigned count, Wait wait) const {
    for (unsigned i = 0; i < count; ++i) {
      if (fibers_[i]->wait != wait) return false;
    }
    return true;
  }

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<uint64_t> seen_;
  std::vector<unsigned> order_;
  std::vector<uint8_t> shared_;
  const std::function<void()>* body_ = nullptr;
  Fiber* current_ = nullptr;
  jmp_buf home_;
  std::string error_;
  uint64_t seed_ = 0;
  std::mt19937_64 random_;
};

// One for all host threads would run blocks of two launches at once.
Scheduler& Scheduler::instance() {
  thread_local auto* scheduler = new Scheduler;  // its fibers' stacks live as long as the process
  return *scheduler;
}

Scheduler& scheduler() { return Scheduler::instance(); }

}  // namespace

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body) {
  std::vector<unsigned> order(uint64_t{grid.x} * grid.y * grid.z);
  std::iota(order.begin(), order.end(), 0u);
  scheduler().shuffle(order);
  blockDim = block;
  gridDim = grid;
  for (const unsigned number : order) {
    blockIdx = {number % grid.x, number / grid.x % grid.y, number / (grid.x * grid.y)};
    scheduler().run_block(block, shared_bytes, body);
  }
}

void set_order(uint64_t seed) { scheduler().set_order(seed); }

void* shared_memory() { return scheduler().shared(); }

unsigned lane_of_thread() { return scheduler().current().number % 32; }

uint64_t exchange(unsigned mask, uint64_t value, unsigned source_lane) {
  Fiber& fiber = scheduler().current();
  if ((mask >> (fiber.number % 32) & 1u) == 0) {
    scheduler().fail("a thread takes part in a warp operation that does not name its lane");
  }
  fiber.mask = mask;
  fiber.posted = value;
  scheduler().wait(Wait::kWarp);
  return fiber.seen[source_lane];
}

}  // namespace emulator

void __syncthreads() { emulator::scheduler().wait(emulator::Wait::kBlock); }

void __syncwarp(unsigned mask) { emulator::exchange(mask, 0, 0); }

unsigned __ballot_sync(unsigned mask, int predicate) {
  const uint64_t own = emulator::exchange(mask, predicate != 0 ? 1 : 0, emulator::lane_of_thread());
  (void)own;
  const uint64_t* seen = emulator::scheduler().current().seen;
  unsigned bits = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1u) != 0 && seen[lane] != 0) bits |= 1u << lane;
  }
  return bits;
}
