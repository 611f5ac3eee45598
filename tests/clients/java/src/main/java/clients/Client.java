package clients;

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.List;

/** Works for {@code WORK_CPU_SECONDS}: 70 % in heavySeventy, 20 % in middleTwenty, 10 % in lightTen. */
public final class Client {
    private static final int UNIT = 1000;
    private static final int RECORDS_KEPT = 100;
    private static final long NANOS_PER_SECOND = 1_000_000_000L;

    private Client() {}

    static int heavySeventy() {
        int state = 1;
        for (int i = 0; i < 7 * UNIT; i++) {
            state = state * 1664525 + 1013904223;
        }
        return state;
    }

    static int middleTwenty() {
        int state = 1;
        for (int i = 0; i < 2 * UNIT; i++) {
            state = state * 1664525 + 1013904223;
        }
        return state;
    }

    static int lightTen() {
        int state = 1;
        for (int i = 0; i < UNIT; i++) {
            state = state * 1664525 + 1013904223;
        }
        return state;
    }

    static byte[] allocateRecord() {
        return new byte[64 << 10];
    }

    private static int workFor(long cpuNanos, List<byte[]> kept) {
        ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        long end = threads.getCurrentThreadCpuTime() + cpuNanos;
        int sum = 0;
        for (long round = 0; threads.getCurrentThreadCpuTime() < end; round++) {
            sum += heavySeventy() + middleTwenty() + lightTen();
            if (round % 1000 == 0) {
                byte[] record = allocateRecord();
                if (kept.size() < RECORDS_KEPT) {
                    kept.add(record);
                }
            }
        }
        return sum;
    }

    public static void main(String[] args) {
        long seconds = Long.parseLong(System.getenv().getOrDefault("WORK_CPU_SECONDS", "12"));
        List<byte[]> kept = new ArrayList<>();
        int sum = workFor(seconds * NANOS_PER_SECOND, kept);
        System.out.println("done, sum " + sum + ", " + kept.size() + " records kept");
    }
}
