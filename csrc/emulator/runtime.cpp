// Memory, streams and graphs of the emulated CUDA runtime.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda_runtime.h"

// A place in a stream's work.
struct Marker {
  EmulatedStream* stream = nullptr;
  bool is_reached = false;
};

struct EmulatedEvent {
  std::shared_ptr<Marker> marker;  // the last record; none: nothing to wait for
};

struct EmulatedStream {
  std::deque<std::function<void()>> queued;  // not run yet; empty where streams run at once
  bool is_recording = false;
  bool is_spoilt = false;  // a call came that must not stand in a capture
  std::vector<std::function<void()>> recorded;
};

struct EmulatedGraph {
  std::vector<std::function<void()>> work;
};

namespace {

constexpr int kDevices = 2;

struct Mapping {
  void* begin;
  size_t size;
};

constexpr uint64_t kMostThreads = 1024, kMostThreadsZ = 64;
constexpr size_t kMostShared = size_t{48} << 10;  // more wants cudaFuncSetAttribute, which no launcher calls

// Whether a GPU would take a launch of this shape.
cudaError_t judge(dim3 grid, dim3 block, size_t shared_bytes) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const bool block_fits = threads >= 1 && threads <= kMostThreads && block.z <= kMostThreadsZ;
  const bool grid_fits =
      grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535;
  if (!block_fits || !grid_fits) return cudaErrorInvalidConfiguration;
  return shared_bytes > kMostShared ? cudaErrorInvalidValue : cudaSuccess;
}

std::mutex guard;
std::map<const void*, emulator::Launched> launches;  // by the kernel
std::map<void*, Mapping> allocations;                // by what the caller holds
std::vector<EmulatedStream*> recording;
std::atomic<int> devices_with_images = kDevices;
thread_local int current_device = 0;
std::vector<EmulatedStream*> streams;
emulator::Streams order = emulator::Streams::kAtOnce;
EmulatedStream default_stream;

// Handles 0, 1 and 2 are the default stream.
EmulatedStream& named(cudaStream_t stream) {
  return reinterpret_cast<uintptr_t>(stream) <= 2 ? default_stream : *stream;
}

void run_next(EmulatedStream& stream) {
  const auto work = std::move(stream.queued.front());
  stream.queued.pop_front();
  work();
}

void drain(EmulatedStream& stream) {
  while (!stream.queued.empty()) run_next(stream);
}

void drain_all() {
  drain(default_stream);
  for (EmulatedStream* stream : streams) drain(*stream);
}

// Before the host waits for a stream.
void let_others_run(EmulatedStream* waited_for) {
  if (order != emulator::Streams::kOthersFirst) return;
  if (waited_for != &default_stream) drain(default_stream);
  for (EmulatedStream* stream : streams) {
    if (stream != waited_for) drain(*stream);
  }
}

void reach(Marker& marker) {
  while (!marker.is_reached) run_next(*marker.stream);
}
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

// What waits, allocates or frees may not be called while a stream of this process records.
bool spoils_a_capture() {
  const std::lock_guard lock(guard);
  for (EmulatedStream* stream : recording) stream->is_spoilt = true;
  return !recording.empty();
}

size_t page_size() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDeviceFunction:
      return "cudaErrorInvalidDeviceFunction";
    case cudaErrorNoKernelImageForDevice:
      return "cudaErrorNoKernelImageForDevice";
    case cudaErrorInvalidPtx:
      return "cudaErrorInvalidPtx";
    case cudaErrorUnsupportedPtxVersion:
      return "cudaErrorUnsupportedPtxVersion";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
  }
  return "unknown";
}

const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = kDevices;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= kDevices) return report(cudaErrorInvalidValue);
  current_device = device;
  return cudaSuccess;
}

// Few, so that blocks have more than one piece of work each.
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 2;
  return cudaSuccess;
}

// The memory ends where an unmapped page begins (but for what 16-byte alignment leaves), and is filled with 0xCB.
cudaError_t cudaMalloc(void** pointer, size_t size) {
  if (spoils_a_capture()) return report(cudaErrorStreamCaptureUnsupported);
  const size_t page = page_size();
  const size_t room = (std::max<size_t>(size, 1) + 15) / 16 * 16;
  const size_t mapped = (room + page - 1) / page * page + page;
  void* begin = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (begin == MAP_FAILED) return report(cudaErrorMemoryAllocation);
  mprotect(static_cast<char*>(begin) + mapped - page, page, PROT_NONE);
  *pointer = static_cast<char*>(begin) + (mapped - page - room);
  std::memset(*pointer, 0xCB, room);
  const std::lock_guard lock(guard);
  allocations[*pointer] = {begin, mapped};
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  if (spoils_a_capture()) return report(cudaErrorStreamCaptureUnsupported);
  if (pointer == nullptr) return cudaSuccess;
  drain_all();  // CUDA waits for the whole GPU here
  const std::lock_guard lock(guard);
  const auto found = allocations.find(pointer);
  if (found == allocations.end()) return report(cudaErrorInvalidValue);
  munmap(found->second.begin, found->second.size);
  allocations.erase(found);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind, cudaStream_t stream) {
  return emulator::enqueue(stream, [=] { std::memcpy(to, from, size); });
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t size, cudaStream_t stream) {
  return emulator::enqueue(stream, [=] { std::memset(to, value, size); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream;
  const std::lock_guard lock(guard);
  streams.push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  drain(*stream);
  {
    const std::lock_guard lock(guard);
    std::erase(streams, stream);
  }
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (spoils_a_capture()) return report(cudaErrorStreamCaptureUnsupported);
  let_others_run(&named(stream));
  drain(named(stream));
  return cudaSuccess;
}

// The event must have been recorded before the stream is captured, and is no part of the graph.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (event == nullptr) return report(cudaErrorInvalidResourceHandle);
  if (named(stream).is_recording) return report(cudaErrorStreamCaptureUnsupported);
  if (event->marker == nullptr) return cudaSuccess;
  return emulator::enqueue(stream, [marker = event->marker] { reach(*marker); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (event == nullptr) return report(cudaErrorInvalidResourceHandle);
  if (named(stream).is_recording) return report(cudaErrorStreamCaptureUnsupported);
  event->marker = std::make_shared<Marker>(Marker{&named(stream)});
  return emulator::enqueue(stream, [marker = event->marker] { marker->is_reached = true; });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (spoils_a_capture()) return report(cudaErrorStreamCaptureUnsupported);
  if (event == nullptr) return report(cudaErrorInvalidResourceHandle);
  if (event->marker == nullptr) return cudaSuccess;
  let_others_run(event->marker->is_reached ? nullptr : event->marker->stream);
  reach(*event->marker);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr || stream->is_recording) return report(cudaErrorInvalidValue);
  stream->is_recording = true;
  stream->is_spoilt = false;
  stream->recorded.clear();
  const std::lock_guard lock(guard);
  recording.push_back(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (stream == nullptr || !stream->is_recording) return report(cudaErrorInvalidValue);
  stream->is_recording = false;
  {
    const std::lock_guard lock(guard);
    std::erase(recording, stream);
  }
  if (stream->is_spoilt) return report(cudaErrorStreamCaptureInvalidated);
  *graph = new EmulatedGraph{std::move(stream->recorded)};
  stream->recorded.clear();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  if (graph == nullptr) return report(cudaErrorInvalidValue);
  *executable = new EmulatedGraph(*graph);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  for (const auto& work : executable->work) {
    if (const cudaError_t error = emulator::enqueue(stream, work); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

namespace emulator {

cudaError_t launch(const void* kernel, const char* signature, dim3 grid, dim3 block, size_t shared_bytes,
                   cudaStream_t stream, std::function<void()> body) {
  if (const cudaError_t error = judge(grid, block, shared_bytes); error != cudaSuccess) return report(error);
  {
    const std::lock_guard lock(guard);
    Launched& most = launches.try_emplace(kernel, Launched{signature, 0, 0}).first->second;
    most.threads = std::max(most.threads, block.x * block.y * block.z);
    most.shared_bytes = std::max(most.shared_bytes, shared_bytes);
  }
  return enqueue(stream, [=, body = std::move(body)] { run_grid(grid, block, shared_bytes, body); });
}

std::vector<Launched> launched() {
  const std::lock_guard lock(guard);
  std::vector<Launched> all;
  for (const auto& [_, most] : launches) all.push_back(most);
  return all;
}

void set_streams(Streams chosen) {
  drain_all();
  order = chosen;
}

void set_images(int devices) { devices_with_images = devices; }

cudaError_t image_status() {
  return current_device < devices_with_images ? cudaSuccess : report(cudaErrorNoKernelImageForDevice);
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  EmulatedStream& target = named(stream);
  if (target.is_recording) {
    target.recorded.push_back(std::move(work));
    return cudaSuccess;
  }
  if (&target == &default_stream && spoils_a_capture()) return report(cudaErrorStreamCaptureUnsupported);
  if (order == Streams::kAtOnce) {
    work();
  } else {
    target.queued.push_back(std::move(work));
  }
  return cudaSuccess;
}

}  // namespace emulator
